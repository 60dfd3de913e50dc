"""The statistics that the pass has written, as later stages read them. Imports neither Ray nor PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raycv.analysis.folds import LayerStatistics
from raycv.analysis.moments import Moments
from raycv.data.readers import EMBEDDED
from raycv.data.sources import Source, open_source
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec
from raycv.run import record
from raycv.run.paths import (
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

FORMAT = 4  # of partials and statistics; part of their identity


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
    """The statistics of a run. ``groups``: the networks compared with one another, trained and untrained."""

    store: RunStore
    groups: dict[str, tuple[NetworkSpec, ...]]
    folds: dict[Key, int]
    folder: str
    images: int

    def source(self) -> Source:
        """The validation images of the pass. Raises UserError where they have changed since."""
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
    def networks(self) -> tuple[NetworkSpec, ...]:
        """The trained networks."""
        return self.groups[NETS]

    @property
    def names(self) -> list[str]:
        """The names of the trained networks."""
        return [spec.name for spec in self.networks]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers, from first to last."""
        return self.networks[0].layers

    def layer(self, layer: str, group: str = NETS) -> LayerStatistics:
        """The moments of one layer of one group of networks."""
        key = Key(group, layer)
        paths = (moments_path(self.folder, key, fold) for fold in range(self.folds[key]))
        return LayerStatistics(tuple(Moments.from_arrays(self.store.read_arrays(path), "moments") for path in paths))

    def width(self, layer: str) -> int:
        """Units of the widest network in one layer."""
        with self.store.open_arrays(moments_path(self.folder, Key(NETS, layer), 0)) as arrays:
            return int(arrays["moments/widths"].max())

    def patches(self, layer: str) -> dict[str, np.ndarray]:
        """The top patches of one layer as arrays named NETWORK/..., see `raycv.analysis.top_patches`."""
        return self.store.read_arrays(patches_path(self.folder, layer))

    def samples(self, layer: str, network: int) -> np.ndarray:
        """Activations (5,000, S) of one of the first two networks in one of the first two layers."""
        return self.store.read_arrays(samples_path(self.folder, layer, network))["samples"]

    def information(self, layer: str, a: int, b: int) -> dict[str, np.ndarray]:
        """Mutual information of networks a <= b, nats: value and corrected, both (S_a, S_b)."""
        return self.store.read_arrays(information_path(self.folder, layer, a, b))

    def chance(self, layer: str, network: int, group: str = NETS) -> dict[str, np.ndarray]:
        """What others have in common with chance in the place of one network; see `raycv.stages.collect.chance`."""
        return self.store.read_arrays(chance_path(self.folder, Key(group, layer), network))

    def mixed(self, layer: str, of_layer: LayerStatistics) -> dict[int, Mixed]:
        """Each trained network's units mixed before the ReLU; none where the layer does not end in a ReLU module."""
        left_out = np.split(of_layer.left_out(), np.cumsum(of_layer.folds[0].widths)[:-1])
        found: dict[int, Mixed] = {}
        for network, of_network in enumerate(left_out):
            with self.store.open_arrays(chance_path(self.folder, Key(NETS, layer), network)) as arrays:
                if "prerelu/own" not in arrays:
                    continue
                mixtures = mixtures_left_out(arrays["prerelu/active"], int(of_network.sum()))
                own = np.where(mixtures[:, None] | mixtures, np.nan, arrays["prerelu/own"])
                found[network] = Mixed(
                    (own + own.T) / 2,  # products in float32 are not quite symmetric
                    {
                        other: np.where(of_other[:, None] | mixtures, np.nan, arrays[f"prerelu/{other}"])
                        for other, of_other in enumerate(left_out)
                        if other != network
                    },
                )
        return found


def mixtures_left_out(active: np.ndarray, units: int) -> np.ndarray:
    """(S,): the least ``active`` mixtures, as many as ``units`` are left out of a network, and those never active."""
    left_out = active == 0
    left_out[np.argsort(active, kind="stable")[:units]] = True
    return np.asarray(left_out)


def read(store: RunStore) -> Statistics:
    """The statistics of a run. Raises UserError where it has none yet, or those of another version."""
    if not store.exists(STATISTICS):
        raise UserError(f"The run {store.uri} has no statistics yet; run `raycv collect` first.")
    index = store.read_json(STATISTICS)
    if index.get("format") != FORMAT:
        raise UserError(
            f"The statistics of {store.uri} were collected by another version of raycv; run `raycv collect` again."
        )
    groups = {group: tuple(NetworkSpec(**spec) for spec in specs) for group, specs in index["groups"].items()}
    folds = {Key(*key.split("/", 1)): count for key, count in index["folds"].items()}
    return Statistics(store, groups, folds, index["folder"], index["images"])
