"""The Ray actors of the pass. Each holds all networks; what it returns to the driver is only that it is done.

A shard's partial goes from the actor straight to the run's store under its own name. That makes it a fact that any
death leaves standing: the driver that comes back finds it there, and a fold is reduced from the store in the order of
its shards, by any actor, as often as need be, to the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import ray
import torch

from raycv import checkpoints
from raycv.collect.collector import PILOT_IMAGES, Collector, Groups, build_untrained
from raycv.collect.reducer import reduce_fold, to_arrays
from raycv.data import Shard, Source
from raycv.networks import load_weights
from raycv.store import RunStore


@dataclass(frozen=True)
class Pass:
    """What every actor is told of the pass it takes part in."""

    store: RunStore
    folder: str  # where partials stand, named by the identity of the pass
    source: Source
    networks: tuple[checkpoints.StoredNetwork, ...]
    groups: Groups
    use_gpu: bool

    def partial_path(self, shard: int) -> str:
        """Where the partial of a shard stands."""
        return f"{self.folder}/shard-{shard:05d}.npz"

    @property
    def pilot_path(self) -> str:
        """Where the pilot stands."""
        return f"{self.folder}/pilot.npz"


@dataclass(frozen=True)
class Reduction:
    """One layer of one group over the shards of one fold."""

    key: str  # GROUP/LAYER
    fold: int
    shards: tuple[int, ...]
    images: int

    def path(self) -> str:
        """Where the result stands."""
        return statistics_path(self.key, self.fold)


def statistics_path(key: str, fold: int) -> str:
    """Where the reduced moments of one GROUP/LAYER and fold stand."""
    return f"statistics/{key}/fold{fold}.npz"


@ray.remote(max_restarts=-1, max_task_retries=0)
class ShardActor:
    """Holds all networks of a run; turns shards into partials and partials into statistics."""

    def __init__(self, task: Pass) -> None:
        self.task = task
        self.device = torch.device("cuda" if task.use_gpu else "cpu")
        self.loaded: Collector | None = None
        self.pilots: dict[str, np.ndarray] | None = None

    def __repr__(self) -> str:
        return f"ShardActor({len(self.task.networks)} networks)"

    def ready(self) -> None:
        """Returns when the networks are loaded."""
        self._collector()

    def _collector(self) -> Collector:
        """Not made in __init__, whose failures Ray would retry for ever."""
        if self.loaded is None:
            task = self.task
            if not task.use_gpu:
                # One thread always: with several, the rounding of a product would depend on how many there are.
                torch.set_num_threads(1)
            nets = {n.spec.name: load_weights(n.spec, checkpoints.weights_of(task.store, n)) for n in task.networks}
            self.loaded = Collector(task.groups, nets | build_untrained(task.groups.get("null", ())), self.device)
        return self.loaded

    def make_pilot(self, shard: Shard) -> None:
        """Store the pilot, from the first images of the first shard."""
        images, _ = self._decode(shard.images[:PILOT_IMAGES])
        self.task.store.write_arrays(self.task.pilot_path, self._collector().pilot(images))

    def collect(self, shard: Shard) -> float:
        """Store the partial of one shard; returns the seconds it took."""
        began = time.monotonic()
        images, _ = self._decode(shard.images)
        partial = self._collector().partial(images, shard.images, self._pilot())
        self.task.store.write_arrays(self.task.partial_path(shard.number), to_arrays(partial))
        return time.monotonic() - began

    def reduce(self, reduction: Reduction) -> None:
        """Add up one layer of one fold in the order of its shards and store the moments."""
        moments = reduce_fold(self._partials(reduction), reduction.key, self._pilot()[reduction.key], self.device)
        # Each image must have been counted exactly once, at every position.
        if moments.count % reduction.images:
            raise RuntimeError(
                f"{reduction} counted {moments.count} samples, not a multiple of {reduction.images} images"
            )
        self.task.store.write_arrays(reduction.path(), moments.arrays("moments"))

    def _decode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.task.source.decode(numbers, self._collector().preprocessing.resize)

    def _pilot(self) -> dict[str, np.ndarray]:
        if self.pilots is None:
            self.pilots = self.task.store.read_arrays(self.task.pilot_path)
        return self.pilots

    def _partials(self, reduction: Reduction) -> Iterator[Mapping[str, np.ndarray]]:
        for shard in reduction.shards:
            with self.task.store.open_arrays(self.task.partial_path(shard)) as arrays:
                yield arrays
