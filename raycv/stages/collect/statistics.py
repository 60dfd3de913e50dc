"""The statistics that the pass has written, as later stages read them. Imports neither Ray nor PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from raycv.analysis.folds import LayerStatistics
from raycv.analysis.moments import Moments
from raycv.data.readers import EMBEDDED
from raycv.data.sources import Source
from raycv.errors import UserError
from raycv.networks.recordings import validation_of
from raycv.networks.spec import NetworkSpec
from raycv.paper import SHOWN_LAYERS, TOP_PATCHES
from raycv.run import record
from raycv.run.paths import (
    ACROSS,
    EPOCH,
    NETS,
    STATISTICS,
    Key,
    chance_path,
    information_path,
    moments_path,
    patches_path,
    samples_path,
)
from raycv.run.store import RunStore

FORMAT = 5  # of partials and statistics; part of their identity

Shapes = dict[str, tuple[int | None, ...]]  # of named arrays; None where any length will do


@dataclass(frozen=True)
class Mixed:
    """Correlations of a network's units mixed before the ReLU, see `raycv.stages.collect.chance`.

    ``own`` (S, S): among the mixtures. ``units``: by each other network, (S_other, S), those of its units with the
    mixtures. NaN for units that take no part and for ``mixtures_left_out``.
    """

    own: np.ndarray
    units: dict[int, np.ndarray]


@dataclass(frozen=True)
class Statistics:
    """The statistics of a run. ``groups``: the networks compared with one another: trained, untrained, of epochs."""

    store: RunStore
    groups: dict[str, tuple[NetworkSpec, ...]]
    folds: dict[Key, int]
    folder: str
    images: int
    classes: int | None = None  # of the images; not noted by earlier versions
    _widths: dict[Key, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def source(self) -> Source:
        """The validation images of the pass. Raises UserError where they have changed since."""
        given = record.read(self.store)["config"]
        columns = {name: given.get(name) for name in ("image_column", "label_column")}
        source = validation_of(self.networks, given.get("data", EMBEDDED), **columns)
        if len(source) != self.images:
            raise UserError(
                f"The statistics are of {self.images:,} validation images and {source.name} has {len(source):,}; "
                "run `raycv collect` again."
            )
        return source

    @property
    def networks(self) -> tuple[NetworkSpec, ...]:
        """The trained networks."""
        return self.groups[NETS]

    @property
    def epochs(self) -> dict[int, str]:
        """The groups of the trained networks as they were after earlier epochs, by epoch."""
        found = {int(group.removeprefix(EPOCH)): group for group in self.groups if group.startswith(EPOCH)}
        return dict(sorted(found.items()))

    @property
    def names(self) -> list[str]:
        """The names of the trained networks."""
        return [spec.name for spec in self.networks]

    @property
    def logits(self) -> str | None:
        """The layer whose units are the images' classes in every network; None where there is none."""
        output = self.networks[0].output
        alike = all(spec.classes == (self.classes or spec.classes) for spec in self.networks)
        return output if output in self.layers and alike else None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, from first to last."""
        return self.networks[0].layers

    def layer(self, layer: str, group: str = NETS) -> LayerStatistics:
        """The moments of one layer of one group of networks. Raises UserError where a file is damaged."""
        key = Key(group, layer)
        if key not in self.folds:
            raise self._damaged(STATISTICS, f"it says nothing of {key}")
        widths = self.widths(layer, group)
        units = sum(widths)
        shapes: Shapes = {f"moments/{name}": (units,) for name in ("pilot", "total", "minimum", "maximum", "active")}
        shapes |= {"moments/widths": (len(widths),), "moments/count": ()}
        shapes |= {f"moments/gram{n}": (width, sum(widths[n:])) for n, width in enumerate(widths)}
        folds: list[Moments] = []
        for fold in range(self.folds[key]):
            path = moments_path(self.folder, key, fold)
            folds.append(Moments.from_arrays(self._arrays(path, shapes), "moments"))
            for name in ("widths", "pilot"):
                if not np.array_equal(getattr(folds[0], name), getattr(folds[-1], name)):
                    raise self._damaged(path, f"its {name} are not those of the first fold")
        return LayerStatistics(tuple(folds))

    def widths(self, layer: str, group: str = NETS) -> tuple[int, ...]:
        """Units of each network of a group in one layer."""
        key = Key(group, layer)
        if key not in self._widths:
            path = moments_path(self.folder, key, 0)
            with self.store.open_arrays(path) as arrays:
                found = arrays.get("moments/widths", np.zeros(0))
            if found.shape != (len(self.groups[group]),) or found.dtype.kind not in "iu" or found.min() < 1:
                raise self._damaged(path, "it does not say how many units each network has")
            self._widths[key] = tuple(found.tolist())
        return self._widths[key]

    def width(self, layer: str) -> int:
        """Units of the widest network in one layer."""
        return max(self.widths(layer))

    def sizes(self) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
        """Units of each trained network, and the number of folds, by layer: what memory a stage needs follows."""
        layers = self.layers
        return {layer: self.widths(layer) for layer in layers}, {of: self.folds[Key(NETS, of)] for of in layers}

    def patches(self, layer: str) -> dict[str, np.ndarray]:
        """The top patches of one layer as arrays named NETWORK/..., see `raycv.stages.collect.reducer`."""
        shapes: Shapes = {
            f"{network}/{name}": (width, TOP_PATCHES)
            for network, width in enumerate(self.widths(layer))
            for name in ("value", "image", "position", "label")
        }
        return self._arrays(patches_path(self.folder, layer), shapes)

    def top_labels(self, layer: str) -> np.ndarray:
        """(U, 9): the classes of the top patches of the stacked units of one layer; -1 where there is none."""
        arrays = self.patches(layer)
        return np.concatenate([arrays[f"{network}/label"] for network in range(len(self.networks))])

    def samples(self, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Activations (5,000, S) of the first two networks in the same samples of one of the first two layers."""
        first, second = (samples_path(self.folder, layer, network) for network in (0, 1))
        a, b = (
            self._arrays(path, {"samples": (None, width)})["samples"]
            for path, width in zip((first, second), self.widths(layer), strict=False)
        )
        if len(a) != len(b):
            raise self._damaged(first if len(a) < len(b) else second, "it has fewer samples than the other network's")
        return a, b

    def information(self, layer: str, a: int, b: int) -> dict[str, np.ndarray]:
        """Mutual information of networks a <= b, nats: value and corrected, both (S_a, S_b)."""
        shape = self.widths(layer)[a], self.widths(layer)[b]
        shapes: Shapes = {"value": shape, "corrected": shape}
        return self._arrays(information_path(self.folder, layer, a, b), shapes)

    def chance(self, layer: str, network: int, group: str = NETS) -> dict[str, np.ndarray]:
        """What others have in common with chance in the place of one network; see `raycv.stages.collect.chance`."""
        widths, path = self.widths(layer, group), chance_path(self.folder, Key(group, layer), network)
        own = widths[network]
        shapes: Shapes = {}
        for kind in ("shuffled", "shuffled_within", "prerelu"):
            for other in range(len(widths)) if kind == "prerelu" else range(network):
                if other != network:
                    shapes |= {f"{kind}/{other}": (widths[other], own)}
        if group == NETS:
            shapes |= {f"information/{name}": shape for name, shape in shapes.items()}
        shapes |= {"prerelu/own": (own, own), "prerelu/active": (own,), "kurtosis": (own,)}
        arrays = self.store.read_arrays(path)
        if not any("prerelu" in name for name in arrays):  # the layer does not end in a ReLU
            shapes = {name: shape for name, shape in shapes.items() if "prerelu" not in name}
        return self._checked(path, arrays, shapes)

    def mixed(self, layer: str, of_layer: LayerStatistics) -> dict[int, Mixed]:
        """Each trained network's units mixed before the ReLU; none where the layer does not end in a ReLU module."""
        left_out = np.split(of_layer.left_out(), np.cumsum(of_layer.folds[0].widths)[:-1])
        found: dict[int, Mixed] = {}
        for network, of_network in enumerate(left_out):
            arrays = self.store.read_arrays(chance_path(self.folder, Key(NETS, layer), network))
            if "prerelu/own" not in arrays:
                continue
            mixtures = mixtures_left_out(arrays["prerelu/active"], int(of_network.sum()))
            own = np.where(mixtures[:, None] | mixtures, np.nan, arrays["prerelu/own"])
            units = {
                other: np.where(of_other[:, None] | mixtures, np.nan, arrays[f"prerelu/{other}"])
                for other, of_other in enumerate(left_out)
                if other != network
            }
            found[network] = Mixed(own, units)
        return found

    def _arrays(self, path: str, shapes: Shapes) -> dict[str, np.ndarray]:
        return self._checked(path, self.store.read_arrays(path), shapes)

    def _checked(self, path: str, arrays: dict[str, np.ndarray], shapes: Shapes) -> dict[str, np.ndarray]:
        """``arrays`` of a file. Raises UserError unless numbers of these ``shapes`` are among them."""
        for name, shape in shapes.items():
            found = arrays.get(name)
            if found is None or found.dtype.kind not in "biuf" or not _fits(found.shape, shape):
                raise self._damaged(path, f"it has no numbers {name!r} of the right shape")
        return arrays

    def _damaged(self, path: str, why: str) -> UserError:
        return UserError(f"{self.store.locate(path)} is damaged: {why}; remove it and run `raycv collect` again.")

    def is_complete(self) -> bool:
        """Whether every file of the statistics is there."""
        there = set(self.store.list(self.folder))
        return all(path in there for path in self._paths())

    def _paths(self) -> Iterator[str]:
        for key, folds in self.folds.items():
            yield from (moments_path(self.folder, key, fold) for fold in range(folds))
            if key.group != ACROSS:
                yield from (chance_path(self.folder, key, network) for network in range(len(self.groups[key.group])))
        networks = range(len(self.networks))
        for place, layer in enumerate(self.layers):
            yield patches_path(self.folder, layer)
            yield from (information_path(self.folder, layer, a, b) for a in networks for b in networks if a <= b)
            yield from (samples_path(self.folder, layer, n) for n in networks if place < SHOWN_LAYERS and n < 2)


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(size in (None, of) for of, size in zip(found, shape, strict=True))


class _Index(BaseModel):
    """What the file STATISTICS holds, for readers."""

    groups: dict[str, Annotated[tuple[NetworkSpec, ...], Field(min_length=2)]]
    folds: dict[str, Annotated[int, Field(ge=1)]]
    folder: str
    images: int
    classes: int | None = None


def mixtures_left_out(active: np.ndarray, units: int) -> np.ndarray:
    """(S,): the least ``active`` mixtures, as many as ``units`` are left out of a network, and those never active."""
    left_out = active == 0
    left_out[np.argsort(active, kind="stable")[:units]] = True
    return np.asarray(left_out)


def read(store: RunStore) -> Statistics:
    """The statistics of a run. Raises UserError where it has none yet, damaged ones, or those of another version."""
    if not store.exists(STATISTICS):
        raise UserError(f"The run {store.uri} has no statistics yet; run `raycv collect` first.")
    index = store.read_json(STATISTICS)
    if index.get("format") != FORMAT:
        raise UserError(
            f"The statistics of {store.uri} were collected by another version of raycv; run `raycv collect` again."
        )
    try:
        held = _Index.model_validate(index)
    except ValidationError:
        held = None
    folds = {Key(*name.partition("/")[::2]): count for name, count in held.folds.items()} if held else {}
    if held is None or {Key(group, layer) for group in held.groups for layer in held.groups[group][0].layers} ^ set(
        folds
    ):
        raise UserError(
            f"{store.locate(STATISTICS)} does not describe statistics; remove it and run `raycv collect` again."
        )
    return Statistics(store, held.groups, folds, held.folder, held.images, held.classes)
