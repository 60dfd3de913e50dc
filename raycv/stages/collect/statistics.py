"""The statistics that the pass has written, as later stages read them. Imports neither Ray nor PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from raycv.analysis.activity import mixtures_left_out
from raycv.analysis.folds import LayerStatistics
from raycv.analysis.moments import Moments, Squares
from raycv.analysis.significance import Draws
from raycv.data.readers import EMBEDDED
from raycv.data.sources import Source
from raycv.errors import UserError
from raycv.networks.recordings import validation_of
from raycv.networks.spec import NetworkSpec
from raycv.paper import SHOWN_LAYERS, TOP_PATCHES
from raycv.run import record
from raycv.run.parts import INFORMATION, OF_UNITS, blocks, information_blocks, others_by_part, parts
from raycv.run.paths import (
    ACROSS,
    EPOCH,
    NETS,
    NULL,
    STATISTICS,
    Key,
    chance_path,
    draws_path,
    information_path,
    moments_path,
    patches_path,
    samples_path,
)
from raycv.run.store import RunStore

FORMAT = 7  # of partials and statistics; part of their identity

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
    of_widths: dict[Key, tuple[int, ...]]
    folder: str
    images: int
    classes: int | None = None  # of the images; not noted by earlier versions
    _left_out: dict[Key, list[np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

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
        """The moments of one layer of one group of networks. Raises UserError where a file is damaged.

        In wide layers of many networks this is large; ``among`` reads a few networks' alone.
        """
        return self.among(layer, range(len(self.groups[group])), group)

    def among(self, layer: str, networks: Sequence[int], group: str = NETS) -> LayerStatistics:
        """The moments of some networks' units in one layer, in the order of ``networks``."""
        widths = self.widths(layer, group)
        folds = self._folds(Key(group, layer), networks, products=True)
        return LayerStatistics(tuple(moments_from(arrays, [widths[n] for n in networks], networks) for arrays in folds))

    def sums(self, layer: str, group: str = NETS) -> LayerStatistics:
        """The moments of one layer without any products of two units: enough for means and variances."""
        widths = self.widths(layer, group)
        networks = range(len(widths))
        folds = self._folds(Key(group, layer), networks, products=False)
        return LayerStatistics(tuple(moments_from(arrays, widths, networks) for arrays in folds))

    def left_out(self, layer: str, group: str = NETS) -> list[np.ndarray]:
        """By network (S_n,): the units that take no part, dead and rare ones."""
        key = Key(group, layer)
        if key not in self._left_out:
            bounds = np.cumsum(self.widths(layer, group))[:-1]
            self._left_out[key] = np.split(self.sums(layer, group).left_out(), bounds)
        return self._left_out[key]

    def _folds(self, key: Key, networks: Sequence[int], *, products: bool) -> list[dict[str, np.ndarray]]:
        """By fold the arrays of `raycv.run.parts`, whole, that are about ``networks``."""
        widths = self.widths(key.layer, key.group)
        folds: list[dict[str, np.ndarray]] = []
        for fold in range(self.folds[key]):
            pieces: dict[str, list[np.ndarray]] = {}
            for number, part in enumerate(parts(widths)):
                shapes: Shapes = {"count": ()}
                for block in part:
                    if block.a in networks and block.b in networks:
                        rows = block.last - block.first
                        shapes |= dict.fromkeys(block.of_units.values(), (rows,))
                        shapes |= {block.name: (rows, widths[block.b])} if products else {}
                if len(shapes) > 1:
                    path = moments_path(self.folder, key, fold, number)
                    with self.store.open_arrays(path) as arrays:
                        read = {name: arrays[name] for name in shapes if name in arrays}
                    for name, values in self._checked(path, read, shapes).items():
                        pieces.setdefault(name, []).append(values)
            counts = pieces.pop("count")
            found = {name: values[0] if len(values) == 1 else np.concatenate(values) for name, values in pieces.items()}
            folds.append(found | {"count": counts[0]})
            for name in (f"{n}/pilot" for n in networks):
                if not np.array_equal(folds[0][name], found[name]):
                    path = moments_path(self.folder, key, fold, 0)
                    raise self._damaged(path, "its pilot is not that of the first fold")
        return folds

    def widths(self, layer: str, group: str = NETS) -> tuple[int, ...]:
        """Units of each network of a group in one layer."""
        return self.of_widths[Key(group, layer)]

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
        widths = self.widths(layer)
        found: dict[str, list[np.ndarray]] = {"value": [], "corrected": []}
        for block in blocks(widths, a, b, INFORMATION):
            shape = block.last - block.first, widths[b]
            path = information_path(self.folder, layer, a, b, block.first)
            arrays = self._arrays(path, dict.fromkeys(found, shape))
            for name, values in found.items():
                values.append(arrays[name])
        whole = {name: values[0] if len(values) == 1 else np.concatenate(values) for name, values in found.items()}
        if a == b and len(found["value"]) > 1:  # each pair of units is stored once
            for matrix in whole.values():
                for block in blocks(widths, a, b, INFORMATION)[:-1]:
                    matrix[block.last :, block.first : block.last] = matrix[block.first : block.last, block.last :].T
        return whole

    def chance(
        self,
        layer: str,
        network: int,
        group: str = NETS,
        *,
        others: Sequence[int] | None = None,
        information: bool = True,
    ) -> dict[str, np.ndarray]:
        """What ``others`` have in common with chance in the place of one network; see `raycv.stages.collect.chance`.

        All others where none are named; of trained networks with mutual information, or without.
        """
        widths = self.widths(layer, group)
        found: dict[str, np.ndarray] = {}
        for number, part in enumerate(others_by_part(widths, network)):
            wanted = [other for other in part if others is None or other in others]
            if not wanted and number > 0:
                continue
            path = chance_path(self.folder, Key(group, layer), network, number)
            with self.store.open_arrays(path) as arrays:
                rectified = any("prerelu" in name for name in arrays)  # else the layer does not end in a ReLU
                shapes = _shapes_of_chance(widths, network, wanted, rectified, information and group == NETS)
                if number == 0:
                    own = widths[network]
                    shapes |= {"kurtosis": (own,)}
                    shapes |= {"prerelu/own": (own, own), "prerelu/active": (own,)} if rectified else {}
                read = {name: arrays[name] for name in shapes if name in arrays}
            found |= self._checked(path, read, shapes)
        return found

    def draws(self, layer: str, network: int, group: str = NETS, *, others: Sequence[int]) -> dict[str, np.ndarray]:
        """Draws by which single units of ``others`` are tested; see `raycv.stages.collect.chance`.

        Of trained and untrained networks; none of those of earlier epochs.
        """
        widths = self.widths(layer, group)
        found: dict[str, np.ndarray] = {}
        for number, part in enumerate(others_by_part(widths, network) if group in (NETS, NULL) else ()):
            wanted = [other for other in part if other in others]
            if wanted:
                path = draws_path(self.folder, Key(group, layer), network, number)
                with self.store.open_arrays(path) as arrays:
                    shapes = _shapes_of_draws(widths, network, wanted, any("prerelu" in name for name in arrays))
                    read = {name: arrays[name] for name in shapes if name in arrays}
                found |= self._checked(path, read, shapes)
        return found

    def kurtosis(self, layer: str) -> np.ndarray:
        """(U,): the excess kurtosis of the trained networks' stacked units, in the samples that the pass keeps."""
        found = []
        for network, width in enumerate(self.widths(layer)):
            path = chance_path(self.folder, Key(NETS, layer), network, 0)
            with self.store.open_arrays(path) as arrays:
                read = {name: arrays[name] for name in ("kurtosis",) if name in arrays}
            found.append(self._checked(path, read, {"kurtosis": (width,)})["kurtosis"])
        return np.concatenate(found)

    def mixed(self, layer: str, networks: Sequence[int] | None = None) -> dict[int, Mixed]:
        """Some trained networks' units mixed before the ReLU; none where the layer does not end in a ReLU module.

        All networks where none are named.
        """
        chosen = range(len(self.networks)) if networks is None else networks
        left_out = self.left_out(layer)
        found: dict[int, Mixed] = {}
        for network in chosen:
            others = [other for other in chosen if other != network]
            arrays = self.chance(layer, network, others=others, information=False)
            if "prerelu/own" not in arrays:
                continue
            mixtures = mixtures_left_out(arrays["prerelu/active"], int(left_out[network].sum()))
            own = np.where(mixtures[:, None] | mixtures, np.nan, arrays["prerelu/own"])
            units = {
                other: np.where(left_out[other][:, None] | mixtures, np.nan, arrays[f"prerelu/{other}"])
                for other in others
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
            widths = self.of_widths[key]
            files = range(len(parts(widths)))
            yield from (moments_path(self.folder, key, fold, part) for fold in range(folds) for part in files)
            if key.group != ACROSS:
                for network in range(len(widths)):
                    files = range(len(others_by_part(widths, network)))
                    yield from (chance_path(self.folder, key, network, part) for part in files)
                    if key.group in (NETS, NULL):
                        yield from (draws_path(self.folder, key, network, part) for part in files)
        networks = range(len(self.networks))
        for place, layer in enumerate(self.layers):
            yield patches_path(self.folder, layer)
            informed = information_blocks(self.widths(layer))
            yield from (information_path(self.folder, layer, one.a, one.b, one.first) for one in informed)
            yield from (samples_path(self.folder, layer, n) for n in networks if place < SHOWN_LAYERS and n < 2)


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(size in (None, of) for of, size in zip(found, shape, strict=True))


class _Index(BaseModel):
    """What the file STATISTICS holds, for readers."""

    groups: dict[str, Annotated[tuple[NetworkSpec, ...], Field(min_length=2)]]
    folds: dict[str, Annotated[int, Field(ge=1)]]
    widths: dict[str, Annotated[tuple[Annotated[int, Field(ge=1, le=2**20)], ...], Field(min_length=2)]]
    folder: str
    images: int
    classes: int | None = None

    def describes_all(self) -> bool:
        """Whether folds and widths are told of every network in every layer of every group, and of no others."""
        networks = {
            str(Key(group, layer)): len(specs) for group, specs in self.groups.items() for layer in specs[0].layers
        }
        return self.folds.keys() == networks.keys() and networks == {
            key: len(widths) for key, widths in self.widths.items()
        }


def _shapes_of_chance(
    widths: Sequence[int], network: int, others: Sequence[int], rectified: bool, informed: bool
) -> Shapes:
    shapes: Shapes = {}
    for other in others:
        kinds = (["shuffled", "shuffled_within"] if other < network else []) + ["prerelu"] * rectified
        shapes |= {f"{kind}/{other}": (widths[other], widths[network]) for kind in kinds}
    return shapes | ({f"information/{name}": shape for name, shape in shapes.items()} if informed else {})


def _shapes_of_draws(widths: Sequence[int], network: int, others: Sequence[int], rectified: bool) -> Shapes:
    shapes: Shapes = {}
    for other in others:
        if other < network:
            for prefix, width in (("", widths[other]), ("own/", widths[network])):
                shapes |= {f"{prefix}value/{other}": (width,), f"{prefix}shuffled/{other}": (None, width)}
        shapes |= {f"prerelu/{other}": (None, widths[other])} if rectified else {}
    return shapes


def _key(name: str) -> Key:
    return Key(*name.partition("/")[::2])


def moments_from(arrays: dict[str, np.ndarray], widths: Sequence[int], networks: Sequence[int]) -> Moments:
    """The moments of ``networks`` in this order, from whole arrays, of which those of products are used up."""

    def products(a: int, b: int) -> np.ndarray:
        return arrays[f"{a}-{b}"] if a <= b else arrays[f"{b}-{a}"].T

    whole = f"{networks[0]}-{networks[0]}" in arrays
    gram: list[Any] = []
    for place, n in enumerate(networks):
        gram.append(np.hstack([products(n, m) for m in networks[place:]]) if whole else Squares(arrays[f"{n}/squares"]))
        for m in networks[place:]:
            arrays.pop(f"{min(n, m)}-{max(n, m)}", None)
    of_units = {name: np.concatenate([arrays[f"{n}/{name}"] for n in networks]) for name in OF_UNITS[:-1]}
    return Moments(np.array(widths), count=arrays["count"], gram=tuple(gram), **of_units)


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
    if held is None or not held.describes_all():
        raise UserError(
            f"{store.locate(STATISTICS)} does not describe statistics; remove it and run `raycv collect` again."
        )
    folds = {_key(name): count for name, count in held.folds.items()}
    widths = {_key(name): of_key for name, of_key in held.widths.items()}
    return Statistics(store, held.groups, folds, widths, held.folder, held.images, held.classes)


def tested_against(draws: Mapping[int, Mapping[str, np.ndarray]], a: int, b: int) -> list[Draws]:
    """What the units of network ``a`` are tested against: ``b``'s images shuffled and, after a ReLU, its units mixed.

    ``draws``: by network, as ``Statistics.draws`` gives them. None where it has none.
    """
    drawn, other, own = (draws[b], a, "") if a < b else (draws[a], b, "own/")
    if f"{own}value/{other}" not in drawn:
        return []
    mixed = draws[b].get(f"prerelu/{a}")
    null = [drawn[f"{own}shuffled/{other}"], *([] if mixed is None else [mixed])]
    return [Draws(drawn[f"{own}value/{other}"], of_kind) for of_kind in null]
