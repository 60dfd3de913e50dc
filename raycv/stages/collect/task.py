"""The pieces of work that the actors of the pass do, and where their results are stored."""

from __future__ import annotations

from dataclasses import dataclass

from raycv.data.sources import Source
from raycv.networks.stored import StoredNetwork
from raycv.run.paths import Key, chance_path, information_path, moments_path, patches_path
from raycv.run.store import RunStore
from raycv.stages.collect.collector import Groups, Precision


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

    def codes_path(self, layer: str, network: int) -> str:
        """Where the binned samples of one layer of one network are stored."""
        return f"{self.partials}/codes/{layer}/{network}.npz"


@dataclass(frozen=True)
class Reduction:
    """The moments of one layer of one group over the shards of one fold."""

    key: Key
    fold: int
    shards: tuple[int, ...]
    images: int

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return moments_path(folder, self.key, self.fold)


@dataclass(frozen=True)
class Drawing:
    """The samples of one layer of one network of a group over all shards, and for mutual information their bins."""

    key: Key
    network: int
    shards: tuple[int, ...]


@dataclass(frozen=True)
class Chance:
    """What the units of a group's other networks have in common with chance in the place of one network's."""

    key: Key
    network: int
    networks: int

    @property
    def others(self) -> list[int]:
        """The other networks."""
        return [other for other in range(self.networks) if other != self.network]

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return chance_path(folder, self.key, self.network)


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
    """The mutual information of the units of two networks (a <= b) in one layer."""

    layer: str
    a: int
    b: int

    def path(self, folder: str) -> str:
        """Where the result is stored."""
        return information_path(folder, self.layer, self.a, self.b)
