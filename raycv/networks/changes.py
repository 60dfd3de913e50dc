"""What becomes of a network when the activations of one layer are changed, for many changes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raycv.networks.bench import FoldImages
from raycv.networks.cut import Cut
from raycv.networks.evaluation import Scores, score

Name = TypeVar("Name")
Change = Callable[[Tensor], Tensor]  # of activations (B, S, ...), which it leaves as they are


def scores_of(
    cut: Cut, parts: Iterable[FoldImages], changes: Callable[[int], Mapping[Name, Change]]
) -> dict[Name, Scores]:
    """The scores of the network under every change. ``changes``: by name, for a fold of the images; asked fold by fold.

    What comes before the layer runs once for a batch, the rest once for each change.
    """
    sums: dict[Name, Tensor] = {}
    for fold, of_fold in groupby(parts, key=lambda part: part.fold):
        here = changes(fold)
        for part in of_fold:
            with torch.inference_mode():
                activations = cut.before(part.inputs)
                for name, change in here.items():
                    found = score(cut.after(change(activations)), part.labels)
                    sums[name] = sums[name] + found if name in sums else found
    return {name: Scores.of(found) for name, found in sums.items()}


def unchanged(activations: Tensor) -> Tensor:
    """No change."""
    return activations


def replaced(units: np.ndarray, values: np.ndarray) -> Change:
    """The activations of ``units`` (R,) are ``values`` (R,) for every image and position."""

    def change(activations: Tensor) -> Tensor:
        at, fill = _on(activations, units, values)
        changed = activations.clone()
        changed[:, at] = fill.reshape(1, -1, *[1] * (activations.ndim - 2))
        return changed

    return change


def predicted(units: np.ndarray, weights: np.ndarray, offset: np.ndarray, sources: np.ndarray) -> Change:
    """The activations of ``units`` (R,) are ``weights`` (R, K) times those of ``sources`` (K,), and ``offset`` (R,)."""

    def change(activations: Tensor) -> Tensor:
        at, by, matrix, more = _on(activations, units, sources, weights, offset)
        changed = activations.clone()
        changed[:, at] = mapped(activations[:, by], matrix, more)
        return changed

    return change


def mapped(activations: Tensor, weights: Tensor, offset: Tensor) -> Tensor:
    """(B, T, ...): ``weights`` (T, S) times activations (B, S, ...) at every position, and ``offset`` (T,)."""
    return F.linear(activations.movedim(1, -1), weights, offset).movedim(-1, 1)


def _on(activations: Tensor, *arrays: np.ndarray) -> list[Tensor]:
    """Arrays as tensors beside the activations: numbers in their precision, indices as they are."""
    return [
        torch.as_tensor(array, dtype=activations.dtype if array.dtype.kind == "f" else None, device=activations.device)
        for array in arrays
    ]
