"""The activations of a network's layers at the positions where they are compared (`raycv.networks.spec.Place`)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec, Place
from raycv.networks.taps import Tapped, Taps, activation

Name = TypeVar("Name", bound=Hashable)
CLASS, PATCHES = "class", "patches"  # parts of tokens, as behind the colon of a layer's name
MOST = 8  # tokens at most that are no patches: a class token and registers


class PlacedTaps(Generic[Name]):
    """Runs a network once and gives the activations (B, S, ...) at several places, by the names these are given."""

    def __init__(self, net: nn.Module, places: Mapping[Name, Place], output: str) -> None:
        self.places = dict(places)
        self._taps = Taps(net, list(dict.fromkeys(module_of(p.module) for p in self.places.values())), output)

    @property
    def layers(self) -> tuple[Name, ...]:
        """The names of the places."""
        return tuple(self.places)

    def __call__(self, images: Tensor) -> dict[Name, Tensor]:
        return {name: tapped.values for name, tapped in self.with_before(images).items()}

    def with_before(self, images: Tensor) -> dict[Name, Tapped]:
        """The same, and the activations before the ReLU of every place that ends in one and is not averaged."""
        found = self._taps.with_before(images)
        return {name: _placed(found[module_of(place.module)], place) for name, place in self.places.items()}


def taps_of(net: nn.Module, spec: NetworkSpec) -> PlacedTaps[str]:
    """The layers of ``spec``, each at its place."""
    return PlacedTaps(net, {layer: spec.place(layer) for layer in spec.layers}, spec.output)


def activation_of(net: nn.Module, spec: NetworkSpec, layer: str, images: Tensor) -> Tensor:
    """Activations (B, S, ...) of one layer at its place; the network runs no further than it."""
    place = spec.place(layer)
    return at(activation(net, module_of(place.module), spec.output, images), place)


def module_of(path: str) -> str:
    """The module of a layer that may name a part of its tokens."""
    return path.partition(":")[0]


def _placed(tapped: Tapped, place: Place) -> Tapped:
    moved = ":" in place.module or place.grid is not None
    return Tapped(at(tapped.values, place), None if moved else tapped.before)


def at(values: Tensor, place: Place) -> Tensor:
    """Activations (B, S, ...) of a whole module at a place: (B, S), (B, S, tokens) or (B, S, height, width).

    Raises UserError where a layer has no tokens, or positions that cannot be averaged to the grid.
    """
    layer, _, part = place.module.partition(":")
    if part:
        values = _tokens(values, layer, part)
    if place.grid is None or values.ndim == 2:
        return values
    if not place.grid:
        return values.flatten(2).mean(2)
    height, width = place.grid
    return adaptive_avg_pool2d(_on_grid(values, layer).float(), (height, width))


def grid_of(positions: Sequence[int]) -> tuple[int, int] | None:
    """The (height, width) of a layer's positions; None where they are no grid."""
    if len(positions) == 2:
        return positions[0], positions[1]
    extra = _no_patches(positions[0]) if len(positions) == 1 else None
    side = None if extra is None else math.isqrt(positions[0] - extra)
    return None if side is None else (side, side)


def _on_grid(values: Tensor, layer: str) -> Tensor:
    """(B, S, height, width) of patches, or of what already has rows and columns."""
    grid = grid_of(values.shape[2:])
    if grid is None:
        raise UserError(f"Layer {layer!r} has positions {tuple(values.shape[2:])}, which are no grid.")
    return values if values.ndim == 4 else values[:, :, -grid[0] * grid[1] :].reshape(*values.shape[:2], *grid)


def _tokens(values: Tensor, layer: str, part: str) -> Tensor:
    extra = _no_patches(values.shape[2]) if values.ndim == 3 else None
    if not extra or part not in (CLASS, PATCHES):
        raise UserError(
            f"Layer {layer!r} has no {part!r}: its activations of an image have shape {tuple(values.shape[1:])}, and "
            f":{CLASS} and :{PATCHES} are parts of tokens of which the first is no patch."
        )
    return values[:, :, 0] if part == CLASS else values[:, :, extra:]


def _no_patches(tokens: int) -> int | None:
    """How many of the first tokens are no patches, which make a square; None where that cannot be told."""
    squares = (
        extra for extra in range(MOST + 1) if tokens > extra and math.isqrt(tokens - extra) ** 2 == tokens - extra
    )
    return next(squares, None)
