"""The Ray actors of the pass. Each holds all networks; what it returns to the driver is only that it is done.

A shard's partial goes from the actor straight to the run's store under its own name. That makes it a fact that any
death leaves standing: the driver that comes back finds it there, and a fold is reduced from the store in the order of
its shards, by any actor, as often as need be, to the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ray
import torch

from raycv import checkpoints
from raycv.analysis.histograms import Codes
from raycv.analysis.information import bin_edges, encode, pairwise_information, shifted
from raycv.collect.collector import PILOT_IMAGES, Collector, Groups, Precision, build_untrained
from raycv.collect.reducer import gather_samples, merge_patches, reduce_fold, to_arrays
from raycv.data import Shard, Source
from raycv.networks import load_weights
from raycv.store import RunStore

BINS = 21  # twenty percentile bins and the special one
SHOWN = 5_000  # samples kept of each unit in the first SHOWN_LAYERS, of the first two networks (paper, figure 8)
SHOWN_LAYERS = 2


@dataclass(frozen=True)
class Pass:
    """What every actor is told of the pass it takes part in."""

    store: RunStore
    folder: str  # where everything stands, named by the identity of the pass
    source: Source
    networks: tuple[checkpoints.StoredNetwork, ...]
    groups: Groups
    use_gpu: bool
    precision: Precision

    @property
    def partials(self) -> str:
        """The folder of what is there only while the pass runs."""
        return f"{self.folder}/partials"

    def partial_path(self, shard: int) -> str:
        """Where the partial of a shard stands."""
        return f"{self.partials}/shard-{shard:05d}.npz"

    @property
    def pilot_path(self) -> str:
        """Where the pilot stands."""
        return f"{self.partials}/pilot.npz"

    def codes_path(self, layer: str, network: int) -> str:
        """Where the binned samples of one network's layer stand."""
        return f"{self.partials}/codes/{layer}/{network}.npz"


@dataclass(frozen=True)
class Reduction:
    """The moments of one GROUP/LAYER over the shards of one fold."""

    key: str
    fold: int
    shards: tuple[int, ...]
    images: int

    def path(self, folder: str) -> str:
        """Where the result stands."""
        return moments_path(folder, self.key, self.fold)


@dataclass(frozen=True)
class Coding:
    """The binned samples of one layer of one network, over all shards."""

    layer: str
    network: int
    shards: tuple[int, ...]


@dataclass(frozen=True)
class Patches:
    """The top patches of one layer over all shards."""

    layer: str
    shards: tuple[int, ...]

    def path(self, folder: str) -> str:
        """Where the result stands."""
        return patches_path(folder, self.layer)


@dataclass(frozen=True)
class Information:
    """The mutual information of the units of two networks (a <= b) in one layer."""

    layer: str
    a: int
    b: int

    def path(self, folder: str) -> str:
        """Where the result stands."""
        return information_path(folder, self.layer, self.a, self.b)


def moments_path(folder: str, key: str, fold: int) -> str:
    """Where the moments of one GROUP/LAYER and fold stand."""
    return f"{folder}/{key}/fold{fold}.npz"


def information_path(folder: str, layer: str, a: int, b: int) -> str:
    """Where the mutual information of networks a <= b in one layer stands."""
    return f"{folder}/nets/{layer}/information{a}-{b}.npz"


def patches_path(folder: str, layer: str) -> str:
    """Where the top patches of one layer stand."""
    return f"{folder}/nets/{layer}/patches.npz"


def samples_path(folder: str, layer: str, network: int) -> str:
    """Where a few samples of one network's layer stand, for looking at them."""
    return f"{folder}/nets/{layer}/samples{network}.npz"


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
            nets |= build_untrained(task.groups["null"])
            self.loaded = Collector(task.groups, nets, self.device, task.precision)
        return self.loaded

    def make_pilot(self, shard: Shard) -> None:
        """Store the pilot, from the first images of the first shard."""
        images, _ = self._decode(shard.images[:PILOT_IMAGES])
        self.task.store.write_arrays(self.task.pilot_path, self._collector().pilot(images))

    def collect(self, shard: Shard) -> float:
        """Store the partial of one shard; returns the seconds it took."""
        began = time.monotonic()
        images, _ = self._decode(shard.images)
        partial = self._collector().partial(images, shard.images, self._pilot(), len(self.task.source))
        self.task.store.write_arrays(self.task.partial_path(shard.number), to_arrays(partial))
        return time.monotonic() - began

    def reduce(self, reduction: Reduction) -> None:
        """Add up one layer of one fold in the order of its shards and store the moments."""
        moments = reduce_fold(
            self._partials(reduction.shards), reduction.key, self._pilot()[reduction.key], self.device
        )
        # Each image must have been counted exactly once, at every position.
        if moments.count % reduction.images:
            raise RuntimeError(
                f"{reduction} counted {moments.count} samples, not a multiple of {reduction.images} images"
            )
        self.task.store.write_arrays(reduction.path(self.task.folder), moments.arrays("moments"))

    def rank(self, patches: Patches) -> None:
        """Bring together the top patches of one layer."""
        merged = merge_patches(self._partials(patches.shards), f"nets/{patches.layer}")
        self.task.store.write_arrays(patches.path(self.task.folder), merged)

    def encode(self, coding: Coding) -> None:
        """Bin the samples of one layer of one network by their percentiles and store the codes."""
        samples = gather_samples(self._partials(coding.shards), f"nets/{coding.layer}", coding.network)
        if coding.layer in self.task.groups["nets"][0].layers[:SHOWN_LAYERS] and coding.network < 2:
            path = samples_path(self.task.folder, coding.layer, coding.network)
            self.task.store.write_arrays(path, {"samples": samples[:SHOWN]})
        codes = encode(samples, bin_edges(samples))
        self.task.store.write_arrays(self.task.codes_path(coding.layer, coding.network), {"codes": codes})

    def inform(self, pair: Information) -> None:
        """Store the mutual information of two networks' units and, between networks, that of shifted samples."""
        a = self._codes(pair.layer, pair.a)
        placed = self._placed(a)
        if pair.a == pair.b:  # each pair of units is then counted once
            found = pairwise_information(placed, placed, BINS)
            arrays = {"value": found.value, "corrected": found.corrected}
        else:
            b = self._codes(pair.layer, pair.b)
            found = pairwise_information(placed, self._placed(b), BINS)
            null = pairwise_information(placed, self._placed(shifted(b)), BINS)
            arrays = {"value": found.value, "corrected": found.corrected, "null": null.value}
        self.task.store.write_arrays(pair.path(self.task.folder), arrays)

    def _decode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.task.source.decode(numbers, self._collector().preprocessing.resize)

    def _pilot(self) -> dict[str, np.ndarray]:
        if self.pilots is None:
            self.pilots = self.task.store.read_arrays(self.task.pilot_path)
        return self.pilots

    def _codes(self, layer: str, network: int) -> np.ndarray:
        return self.task.store.read_arrays(self.task.codes_path(layer, network))["codes"]

    def _placed(self, codes: np.ndarray) -> Codes:
        return torch.from_numpy(codes).to(self.device) if self.task.use_gpu else codes

    def _partials(self, shards: Sequence[int]) -> Iterator[Mapping[str, np.ndarray]]:
        for shard in shards:
            with self.task.store.open_arrays(self.task.partial_path(shard)) as arrays:
                yield arrays
