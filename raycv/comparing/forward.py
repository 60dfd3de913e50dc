"""Activations of PyTorch networks of any kind, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from raycv.errors import UserError
from raycv.networks.layers import layers_run, nearest
from raycv.networks.taps import Taps


class Forward:
    """A network and the layers of it that are compared, in the order in which they run."""

    def __init__(self, name: str, net: nn.Module, patterns: Sequence[str] | None, batch: Any) -> None:
        self.name, self.net = name, net.eval()
        self.device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
        there = layers_run(net, lambda: self._call(batch))
        self.layers = list(there) if patterns is None else chosen(name, list(there), patterns)
        self._taps = Taps(net, self.layers, "")

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """The activations (B, S, ...) of every layer, from one pass."""
        return self._taps.during(lambda: self._call(batch))

    def _call(self, batch: Any) -> Any:
        return self.net(batch.to(self.device))


def chosen(net: str, there: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The layers that match any of ``patterns``, in the order of ``there``; ``*`` also stands for dots.

    Raises UserError for a pattern that matches none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in there):
            raise UserError(f"{net} has no layer {pattern!r}; the nearest are {', '.join(nearest(pattern, there))}.")
    return [layer for layer in there if any(fnmatchcase(layer, pattern) for pattern in patterns)]


def inputs(batch: Any) -> Tensor:
    """The images of a batch: a tensor, the first of a tuple, or the only tensor of a mapping."""
    if isinstance(batch, Mapping):
        batch = next((value for value in batch.values() if getattr(value, "ndim", 0) > 1), None)
    elif isinstance(batch, tuple | list):
        batch = batch[0]
    found: Tensor = batch if isinstance(batch, Tensor) else torch.as_tensor(batch)
    return found


def on_one_grid(activations: Mapping[str, Tensor], positions: str) -> dict[str, Tensor]:
    """The members of one comparison at the same positions; see `raycv.compare`. Raises UserError where they differ."""
    grids = {name: tuple(values.shape[2:]) for name, values in activations.items()}
    if positions == "mean":
        return {name: values.flatten(2).mean(2) if values.ndim > 2 else values for name, values in activations.items()}
    if len(set(grids.values())) == 1:
        return dict(activations)
    if positions == "resample" and all(len(grid) == 2 for grid in grids.values()):
        height, width = (min(grid[axis] for grid in grids.values()) for axis in (0, 1))
        return {name: adaptive_avg_pool2d(values.float(), (height, width)) for name, values in activations.items()}
    text = ", ".join(f"{name} {' x '.join(map(str, grid)) or 'none'}" for name, grid in grids.items())
    advice = 'positions="mean"' if positions == "resample" else 'positions="resample" or positions="mean"'
    raise UserError(f"The layers have different positions: {text}; compare them with {advice}.")
