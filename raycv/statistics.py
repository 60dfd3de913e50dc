"""What the pass left behind: the moments of every layer, fold by fold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from raycv import record
from raycv.collect.actors import information_path, moments_path, patches_path, samples_path
from raycv.collect.moments import Moments, correlation, merge
from raycv.collect.patches import TopPatches
from raycv.data import EMBEDDED, Source, open_source
from raycv.errors import UserError
from raycv.networks import NetworkSpec
from raycv.store import RunStore


@dataclass(frozen=True)
class Statistics:
    """The statistics of a run. ``groups`` are the networks that were compared: "nets", and the untrained "null"."""

    store: RunStore
    groups: dict[str, tuple[NetworkSpec, ...]]
    folds: dict[str, int]
    folder: str
    images: int

    def source(self) -> Source:
        """The validation images that the statistics are of. Raises UserError where they are others by now."""
        given = record.read(self.store)["config"]
        columns = {name: given.get(name) for name in ("image_column", "label_column")}
        source = open_source(given.get("data", EMBEDDED), "validation", **columns)
        if len(source) != self.images:
            raise UserError(
                f"The statistics are of {self.images:,} validation images and {source.name} has {len(source):,}; "
                "run `raycv collect` again."
            )
        return source

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, first to last."""
        return self.groups["nets"][0].layers

    def layer(self, group: str, layer: str) -> LayerStatistics:
        """One layer of one group of networks."""
        key = f"{group}/{layer}"
        folds = []
        for fold in range(self.folds[key]):
            folds.append(Moments.from_arrays(self.store.read_arrays(moments_path(self.folder, key, fold)), "moments"))
        return LayerStatistics(tuple(folds))

    def width(self, layer: str) -> int:
        """Units of the widest network in one layer."""
        with self.store.open_arrays(moments_path(self.folder, f"nets/{layer}", 0)) as arrays:
            return int(arrays["moments/widths"].max())

    def patches(self, layer: str) -> list[TopPatches]:
        """The top patches of every network in one layer."""
        arrays = self.store.read_arrays(patches_path(self.folder, layer))
        return [TopPatches.from_arrays(arrays, str(n)) for n in range(len(self.groups["nets"]))]

    def samples(self, layer: str, network: int) -> np.ndarray:
        """Activations (5,000, S) of one of the first two networks in one of the first two layers."""
        return self.store.read_arrays(samples_path(self.folder, layer, network))["samples"]

    def information(self, layer: str, a: int, b: int) -> dict[str, np.ndarray]:
        """Mutual information of networks a <= b, nats: value, corrected and, where a < b, null, all (S_a, S_b)."""
        return self.store.read_arrays(information_path(self.folder, layer, a, b))


def read(store: RunStore) -> Statistics:
    """The statistics of a run. Raises UserError where it has none yet."""
    path = "statistics/statistics.json"
    if not store.exists(path):
        raise UserError(f"The run {store.uri} has no statistics yet; run `raycv collect` first.")
    index = store.read_json(path)
    groups = {group: tuple(NetworkSpec(**spec) for spec in specs) for group, specs in index["groups"].items()}
    return Statistics(store, groups, index["folds"], index["folder"], index["images"])


@dataclass(frozen=True)
class LayerStatistics:
    """The moments of one layer over all images, and without each fold."""

    folds: tuple[Moments, ...]

    @property
    def all(self) -> Moments:
        """Over all images."""
        return reduce(merge, self.folds)

    def without_each(self) -> list[Moments]:
        """Over all images but those of one fold, for each fold; empty where there is one fold only."""
        if len(self.folds) < 2:
            return []
        return [reduce(merge, [other for other in self.folds if other is not fold]) for fold in self.folds]

    def dead(self) -> np.ndarray:
        """(U,) units that do not vary once some one fold is left out: a correlation would rest on that fold alone."""
        parts = self.without_each() or [self.all]
        return np.asarray(np.any([part.minimum == part.maximum for part in parts], axis=0))


def correlations(moments: Moments, dead: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Correlation (S_a, S_b) of every pair of networks a <= b, NaN for the stacked units (U,) that are dead."""
    bounds = np.cumsum([0, *moments.widths])
    alive = [~dead[bounds[n] : bounds[n + 1]] for n in range(len(moments.widths))]
    result = {}
    for a in range(len(alive)):
        for b in range(a, len(alive)):
            matrix = correlation(moments, a, b)
            result[a, b] = np.where(np.outer(alive[a], alive[b]), matrix, np.nan)
    return result
