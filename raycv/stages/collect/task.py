"""The pieces of work that the actors of the pass do, and where their results are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raycv.data.sources import Source
from raycv.errors import UserError
from raycv.networks.stored import StoredNetwork
from raycv.paper import SHOWN_LAYERS
from raycv.run.paths import (
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
from raycv.stages.collect.collector import Precision
from raycv.stages.collect.groups import Groups
from raycv.statistics.parts import Part, ProductBlock

NAME = "path"  # of the array in which a file says which it is


@dataclass(frozen=True)
class Pass:
    """What every actor needs to know of the pass."""

    store: RunStore
    folder: str  # of all results, named by the identity of the pass
    source: Source
    networks: tuple[StoredNetwork, ...]  # all that are stored: of every group but the untrained one
    groups: Groups
    use_gpu: bool
    precision: Precision
    keep_rare: bool

    @property
    def partials(self) -> str:
        """The folder of all that is kept only while the pass runs."""
        return f"{self.folder}/partials"

    def partial_path(self, shard: int) -> str:
        """Where the partial of a shard is stored."""
        return f"{self.partials}/shard-{shard:05d}.npz"

    @property
    def pilot_path(self) -> str:
        """Where the pilot is stored."""
        return f"{self.partials}/pilot.npz"

    def drawn_path(self, key: Key, network: int) -> str:
        """Where the samples of one layer of one network are stored, in the order of their ranks."""
        return f"{self.partials}/drawn/{key}/{network}.npz"

    def tested_path(self, key: Key, network: int) -> str:
        """Where those are stored in which units are tested against chance."""
        return f"{self.partials}/tested/{key}/{network}.npz"

    def codes_path(self, layer: str, network: int) -> str:
        """Where the binned samples of one layer of one network are stored."""
        return f"{self.partials}/codes/{layer}/{network}.npz"

    def keep(self, path: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store what is kept only while the pass runs."""
        self.store.write_arrays(path, {**arrays, NAME: np.array(path)})

    def is_whole(self, path: str) -> bool:
        """Whether a file that an interrupted pass has left is what it wrote there, and not truncated."""
        try:
            with self.store.open_arrays(path) as arrays:
                name = arrays.get(NAME)
        except UserError as error:
            if error.__cause__ is not None:  # the store has failed
                raise
            return False
        return not path.startswith(self.partials) or str(name) == path


@dataclass(frozen=True)
class Reduction:
    """One part of the moments of one layer of one group over the shards of one fold; ``number``: which part."""

    key: Key
    fold: int
    number: int
    part: Part
    widths: tuple[int, ...]  # of all networks of the group
    shards: tuple[int, ...]
    images: int

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return moments_path(folder, self.key, self.fold, self.number)


@dataclass(frozen=True)
class Summing:
    """The sums of single units of one layer of one group over the shards of one fold of eight."""

    key: Key
    fold: int
    widths: tuple[int, ...]  # of all networks of the group
    shards: tuple[int, ...]

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return sums_path(folder, self.key, self.fold)


@dataclass(frozen=True)
class LayerSamples:
    """The samples of one layer of one network of a group over all shards, and for mutual information their bins."""

    key: Key
    network: int
    shards: tuple[int, ...]

    def shown_path(self, task: Pass) -> str | None:
        """Where those are stored that a person can look at: of two trained networks in the first layers."""
        group, layer = self.key
        shown = group == NETS and self.network < 2 and layer in task.groups[NETS][0].layers[:SHOWN_LAYERS]
        return samples_path(task.folder, layer, self.network) if shown else None

    def paths(self, task: Pass) -> set[str]:
        """Where all of it is stored."""
        bins = {task.codes_path(self.key.layer, self.network)} if self.key.group == NETS else set()
        tested = {task.tested_path(self.key, self.network)} if self.key.group in TESTED else set()
        return {task.drawn_path(self.key, self.network), *tested, *bins, *filter(None, [self.shown_path(task)])}


@dataclass(frozen=True)
class Chance:
    """What the units of ``others`` of a group have in common with chance in the place of one network's.

    ``number``: which of several such parts. The first says something of the network itself, too.
    """

    key: Key
    network: int
    number: int
    others: tuple[int, ...]

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return chance_path(folder, self.key, self.network, self.number)


@dataclass(frozen=True)
class Testing:
    """Draws by which single units of ``others`` of a group are tested against chance in the place of one network's.

    ``folds`` of the layer's moments, ``widths`` of all networks of the group, ``images`` of the pass.
    """

    key: Key
    network: int
    number: int
    others: tuple[int, ...]
    folds: int
    widths: tuple[int, ...]
    images: int

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return draws_path(folder, self.key, self.network, self.number)


@dataclass(frozen=True)
class Patches:
    """The top patches of one layer over all shards."""

    layer: str
    shards: tuple[int, ...]

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return patches_path(folder, self.layer)


@dataclass(frozen=True)
class Information:
    """The mutual information of some units of network a and all of b (a <= b) in one layer."""

    layer: str
    block: ProductBlock

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return information_path(folder, self.layer, self.block.a, self.block.b, self.block.first)
