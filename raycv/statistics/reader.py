"""The statistics that the pass has written, as later stages read them. Imports neither Ray nor PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raycv.analysis.activity import mixtures_left_out
from raycv.analysis.significance import Draws
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
    TESTED,
    Key,
    chance_path,
    draws_path,
    information_path,
    moments_path,
    patches_path,
    samples_path,
    sums_path,
)
from raycv.run.store import RunStore
from raycv.statistics import assembled
from raycv.statistics.checked import Shapes, damaged, read_checked
from raycv.statistics.folding import FOLDS, has_own_sums
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.index import read_index
from raycv.statistics.parts import Arrays, from_arrays, information_blocks, others_by_part, parts


@dataclass(frozen=True)
class Mixed:
    """Correlations of a network's units mixed before the non-linearity, see `raycv.stages.collect.nulls`.

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
    keep_rare: bool = False  # units whose variance rests on one fold take part
    _left_out: dict[Key, list[np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    def source(self) -> Source:
        """The validation images of the pass. Raises UserError where they have changed since."""
        given = record.read(self.store)["config"]
        columns = {name: given.get(name) for name in ("image_column", "label_column", "text_column")}
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
        key = Key(group, layer)
        widths = [self.widths(layer, group)[n] for n in networks]
        folds, finer = self._folds(key, networks, products=True), self._finer(key, networks)
        whole, sums = (tuple(from_arrays(of, widths, networks) for of in some) for some in (folds, finer))
        return LayerStatistics(whole, sums, self.keep_rare)

    def sums(self, layer: str, group: str = NETS) -> LayerStatistics:
        """The moments of one layer, in eight folds, without products of two units: enough for means and variances."""
        widths = self.widths(layer, group)
        key, networks = Key(group, layer), range(len(widths))
        folds = self._finer(key, networks) or self._folds(key, networks, products=False)
        moments = tuple(from_arrays(arrays, widths, networks) for arrays in folds)
        return LayerStatistics(moments, keep_rare=self.keep_rare)

    def left_out(self, layer: str, group: str = NETS) -> list[np.ndarray]:
        """By network (S_n,): the units that take no part, dead and rare ones."""
        key = Key(group, layer)
        if key not in self._left_out:
            bounds = np.cumsum(self.widths(layer, group))[:-1]
            self._left_out[key] = np.split(self.sums(layer, group).left_out(), bounds)
        return self._left_out[key]

    def _folds(self, key: Key, networks: Sequence[int], *, products: bool) -> list[Arrays]:
        """By fold the arrays of some networks' moments."""
        widths, folds = self.of_widths[key], self.folds[key]
        return assembled.fold_arrays(self.store, self.folder, key, widths, folds, networks, products=products)

    def _finer(self, key: Key, networks: Sequence[int]) -> list[Arrays]:
        """The sums of single units of some networks in eight folds, where their products are in fewer; else none."""
        widths = self.of_widths[key]
        if not has_own_sums(widths):
            return []
        return assembled.sum_arrays(self.store, self.folder, key, widths, networks)

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

    def patches(self, layer: str) -> Arrays:
        """The top patches of one layer as arrays named NETWORK/..., see `raycv.stages.collect.reducer`."""
        shapes: Shapes = {
            f"{network}/{name}": (width, TOP_PATCHES)
            for network, width in enumerate(self.widths(layer))
            for name in ("value", "image", "position", "label")
        }
        return read_checked(self.store, patches_path(self.folder, layer), shapes)

    def top_labels(self, layer: str) -> np.ndarray:
        """(U, 9): the classes of the top patches of the stacked units of one layer; -1 where there is none."""
        arrays = self.patches(layer)
        return np.concatenate([arrays[f"{network}/label"] for network in range(len(self.networks))])

    def samples(self, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Activations (5,000, S) of the first two networks in the same samples of one of the first two layers."""
        first, second = (samples_path(self.folder, layer, network) for network in (0, 1))
        a, b = (
            read_checked(self.store, path, {"samples": (None, width)})["samples"]
            for path, width in zip((first, second), self.widths(layer), strict=False)
        )
        if len(a) != len(b):
            raise damaged(
                self.store, first if len(a) < len(b) else second, "it has fewer samples than the other network's"
            )
        return a, b

    def information(self, layer: str, a: int, b: int) -> Arrays:
        """Mutual information of networks a <= b, nats: value and corrected, both (S_a, S_b)."""
        return assembled.information(self.store, self.folder, layer, self.widths(layer), a, b)

    def chance(
        self,
        layer: str,
        network: int,
        group: str = NETS,
        *,
        others: Sequence[int] | None = None,
        information: bool = True,
    ) -> Arrays:
        """What ``others`` have in common with chance in the place of one network; see `raycv.stages.collect.nulls`.

        All others where none are named; of trained networks with mutual information, or without.
        """
        key, widths = Key(group, layer), self.widths(layer, group)
        informed = information and group == NETS
        return assembled.chance(self.store, self.folder, key, widths, network, others, informed=informed)

    def draws(self, layer: str, network: int, group: str = NETS, *, others: Sequence[int]) -> Arrays:
        """Draws by which single units of ``others`` are tested; see `raycv.stages.collect.nulls`.

        Of trained and untrained networks; none of those of earlier epochs.
        """
        if group not in TESTED:
            return {}
        key = Key(group, layer)
        return assembled.draws(self.store, self.folder, key, self.widths(layer, group), network, others)

    def kurtosis(self, layer: str) -> np.ndarray:
        """(U,): the excess kurtosis of the trained networks' stacked units, in the samples that the pass keeps."""
        return assembled.kurtosis(self.store, self.folder, Key(NETS, layer), self.widths(layer))

    def mixed(self, layer: str, networks: Sequence[int] | None = None) -> dict[int, Mixed]:
        """Some trained networks' units mixed before the non-linearity; none where the layer ends in no known one.

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

    def is_complete(self) -> bool:
        """Whether every file of the statistics is there."""
        there = set(self.store.list(self.folder))
        return all(path in there for path in self._paths())

    def _paths(self) -> Iterator[str]:
        for key, folds in self.folds.items():
            widths = self.of_widths[key]
            files = range(len(parts(widths)))
            yield from (moments_path(self.folder, key, fold, part) for fold in range(folds) for part in files)
            if has_own_sums(widths):
                yield from (sums_path(self.folder, key, fold) for fold in range(FOLDS))
            if key.group != ACROSS:
                for network in range(len(widths)):
                    files = range(len(others_by_part(widths, network)))
                    yield from (chance_path(self.folder, key, network, part) for part in files)
                    if key.group in TESTED:
                        yield from (draws_path(self.folder, key, network, part) for part in files)
        networks = range(len(self.networks))
        for place, layer in enumerate(self.layers):
            yield patches_path(self.folder, layer)
            informed = information_blocks(self.widths(layer))
            yield from (information_path(self.folder, layer, one.a, one.b, one.first) for one in informed)
            yield from (samples_path(self.folder, layer, n) for n in networks if place < SHOWN_LAYERS and n < 2)


def read(store: RunStore) -> Statistics:
    """The statistics of a run. Raises UserError where it has none yet, damaged ones, or those of another version."""
    index = read_index(store)
    folds, widths = index.by_key()
    return Statistics(store, index.groups, folds, widths, index.folder, index.images, index.classes, index.keep_rare)


def tested_against(draws: Mapping[int, Mapping[str, np.ndarray]], a: int, b: int) -> list[Draws]:
    """What the units of network ``a`` are tested against: ``b``'s images shuffled and, where they are, its mixed units.

    ``draws``: by network, as ``Statistics.draws`` gives them. None where it has none.
    """
    drawn, other, own = (draws[b], a, "") if a < b else (draws[a], b, "own/")
    if f"{own}value/{other}" not in drawn:
        return []
    mixed = draws[b].get(f"prerelu/{a}")
    null = [drawn[f"{own}shuffled/{other}"], *([] if mixed is None else [mixed])]
    return [Draws(drawn[f"{own}value/{other}"], of_kind) for of_kind in null]
