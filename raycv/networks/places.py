"""The activations of a network's layers at the positions where they are compared (`raycv.networks.spec.Place`)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from raycv.devices import in_float64
from raycv.errors import UserError
from raycv.networks.layouts import Layout
from raycv.networks.spec import NetworkSpec, Place
from raycv.networks.taps import Tapped, Taps, activation, known
from raycv.networks.tokens import Part, Prefix, after_choice, part_of, prefixes_of, squared, taken

Name = TypeVar("Name", bound=Hashable)


class PlacedTaps(Generic[Name]):
    """Runs a network once and gives the activations (B, S, ...) at several places, by the names these are given."""

    def __init__(self, net: nn.Module, places: Mapping[Name, Place], output: str) -> None:
        self.places = dict(places)
        modules = dict.fromkeys(part_of(place.module).path for place in self.places.values())
        self._taps = Taps(net, list(modules), output)

    @property
    def layers(self) -> tuple[Name, ...]:
        """The names of the places."""
        return tuple(self.places)

    def __call__(self, images: Tensor, samples: Tensor | None = None) -> dict[Name, Tensor]:
        return {name: tapped.values for name, tapped in self.with_before(images, samples).items()}

    def with_before(self, images: Tensor, samples: Tensor | None = None) -> dict[Name, Tapped]:
        """The same, and those before the non-linearity of every place that ends in one and is not averaged.

        ``samples`` (B, m): of texts, the positions that count.
        """
        found = self._taps.with_before(images)
        if samples is not None:
            found = {path: at_samples(path, tapped, images.shape[1], samples) for path, tapped in found.items()}
        paths = {name: part_of(place.module).path for name, place in self.places.items()}
        prefixes = _prefixes(self._taps.net, set(paths.values()), images)
        return {name: _placed(found[paths[name]], place, prefixes[paths[name]]) for name, place in self.places.items()}


def taps_of(net: nn.Module, spec: NetworkSpec) -> PlacedTaps[str]:
    """The layers of ``spec``, each at its place."""
    return PlacedTaps(net, {layer: spec.place(layer) for layer in spec.layers}, spec.output)


def activation_at(net: nn.Module, place: Place, output: str, images: Tensor) -> Tensor:
    """Activations (B, S, ...) at one place; the network runs no further than it."""
    path = part_of(place.module).path
    return at(activation(net, path, output, images), place, _prefixes(net, [path], images)[path])


def at_samples(layer: str, tapped: Tapped, tokens: int, samples: Tensor) -> Tapped:
    """Activations (B, S, m) of a language model at the positions ``samples`` (B, m) of a sequence of ``tokens``.

    Those without positions, as of a whole text, stay as they are. Raises UserError for a layer with other positions.
    """

    def chosen(values: Tensor) -> Tensor:
        if values.ndim == 2:
            return values
        if values.ndim != 3 or values.shape[2] != tokens:
            grid = " x ".join(f"{size:,}" for size in values.shape[2:])
            raise UserError(
                f"Layer {layer!r} has {grid} positions in a text of {tokens:,} tokens; name layers with one for each "
                "token."
            )
        return values.take_along_dim(samples[:, None], 2)

    before = tapped.before
    return Tapped(chosen(tapped.values), before and before._replace(values=chosen(before.values)))


def _prefixes(net: nn.Module, layers: Iterable[str], images: Tensor) -> dict[str, Prefix]:
    layouts = known(net, images).layers or {}
    grids = {name: one.grid for name, one in layouts.items() if isinstance(one, Layout)}
    return prefixes_of(net, layers, grids)


def _placed(tapped: Tapped, place: Place, prefix: Prefix) -> Tapped:
    whole = not part_of(place.module).tokens and place.grid is None
    return Tapped(at(tapped.values, place, prefix), tapped.before if whole else None)


def at(values: Tensor, place: Place, prefix: Prefix | None = None, part: Part | None = None) -> Tensor:
    """Activations (B, S, ...) of a whole module at a place: (B, S), (B, S, tokens) or (B, S, height, width).

    ``prefix``: what the model says of the tokens before its patches; None for recordings. ``part``: which tokens are
    meant, where the module's name does not say it.

    Raises UserError where a layer has no such tokens, or positions that cannot be averaged to the grid.
    """
    part = part or part_of(place.module)
    values = taken(part, values, prefix)
    if place.grid is None or values.ndim == 2:
        return values
    if not place.grid:
        return in_float64(values).flatten(2).mean(2)  # float32 loses digits of units whose mean is above their spread
    patches = squared(values, prefix and after_choice(part, prefix))
    if patches.ndim != 4:
        raise UserError(f"Layer {place.module!r} has positions {tuple(values.shape[2:])}, which are no grid.")
    height, width = place.grid
    same = tuple(patches.shape[2:]) == (height, width)
    return patches if same else adaptive_avg_pool2d(in_float64(patches), (height, width))
