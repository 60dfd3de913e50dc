"""Activations of PyTorch networks of any kind, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from raycv.errors import UserError
from raycv.networks.layers import layers_run, matching
from raycv.networks.taps import Taps
from raycv.networks.tokens import part_of, squared, taken


class Forward:
    """A network and the layers of it that are compared, in the order in which they run."""

    def __init__(self, name: str, net: nn.Module, patterns: Sequence[str] | None, batch: Any) -> None:
        self.name, self.net = name, net.eval()
        self.device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
        there = layers_run(net, lambda: self._call(batch))
        self.layers = chosen(name, list(there), patterns)
        self._taps = Taps(net, list(dict.fromkeys(part_of(layer).path for layer in self.layers)), "")

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """The activations (B, S, ...) of every layer, from one pass."""
        found = self._taps.during(lambda: self._call(batch))
        return {layer: taken(layer, found[part_of(layer).path]) for layer in self.layers}

    def _call(self, batch: Any) -> Any:
        return self.net(batch.to(self.device))


def chosen(net: str, there: Sequence[str], patterns: Sequence[str] | None) -> list[str]:
    """The layers that match any of ``patterns``, in the order of ``there``; ``*`` also stands for dots. None means all.

    A pattern may end in ":class" or ":patches", and so do its layers then. Raises UserError for one that matches none.
    """
    found = matching(net, there, there if patterns is None else patterns)
    return sorted(found, key=lambda layer: there.index(part_of(layer).path))


def inputs(batch: Any) -> Tensor:
    """The images of a batch: a tensor, the first of a tuple, or the only tensor of a mapping."""
    if isinstance(batch, Mapping):
        arrays = [value for value in batch.values() if getattr(value, "ndim", 0) > 1]
        if len(arrays) != 1:
            raise UserError(
                f"A batch of data has {', '.join(map(repr, batch))}, of which {len(arrays)} may be what a network "
                "takes; give batches with one tensor of two axes or more."
            )
        batch = arrays[0]
    elif isinstance(batch, tuple | list):
        batch = batch[0]
    found: Tensor = batch if isinstance(batch, Tensor) else torch.as_tensor(batch)
    return found


def on_one_grid(activations: Mapping[str, Tensor], positions: str) -> dict[str, Tensor]:
    """The members of one comparison at the same positions; see `raycv.compare`. Raises UserError where they differ."""
    if positions == "resample" and len({values.shape[2:] for values in activations.values()}) > 1:
        activations = {name: squared(values) for name, values in activations.items()}
    grids = {name: tuple(values.shape[2:]) for name, values in activations.items()}
    if positions == "mean":
        return {name: v.double().flatten(2).mean(2) if v.ndim > 2 else v for name, v in activations.items()}
    if len(set(grids.values())) == 1:
        return dict(activations)
    if positions == "resample" and all(len(grid) == 2 for grid in grids.values()):
        height, width = (min(grid[axis] for grid in grids.values()) for axis in (0, 1))
        return {name: _resampled(v, (height, width)) for name, v in activations.items()}
    text = ", ".join(f"{name} {' x '.join(map(str, grid)) or 'none'}" for name, grid in grids.items())
    advice = 'positions="mean"' if positions == "resample" else 'positions="resample" or positions="mean"'
    raise UserError(f"The layers have different positions: {text}; compare them with {advice}.")


def _resampled(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Averages over areas, in float64: of units whose mean is far above their spread float32 would lose digits."""
    return values if tuple(values.shape[2:]) == grid else adaptive_avg_pool2d(values.double(), grid)
