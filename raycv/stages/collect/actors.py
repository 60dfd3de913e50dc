"""The Ray actors of the pass. Each holds all networks and only tells the driver when a piece of work is done.

An actor writes a shard's partial straight to the run's store, under the shard's number. The partial therefore survives
the death of any process: a restarted driver finds it there. Any actor can reduce a fold from the store, in the order of
its shards, as often as needed, and gets the same bits.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import ray
import torch

from raycv.analysis.histograms import Codes
from raycv.analysis.information import BINS, MutualInformation, bin_edges, encode, pairwise_information
from raycv.data.decoder import Decoder, joined
from raycv.data.preprocessing import Resize
from raycv.data.samples import orders
from raycv.data.shards import Shard
from raycv.data.texts import Documents
from raycv.data.tokenizing import Tokens
from raycv.devices import for_float64, kind, of_worker, settle
from raycv.distributed.ray_cluster import cores_of_gpu
from raycv.networks.checkpoints import weights_of
from raycv.networks.models import load_weights
from raycv.networks.recordings import opened
from raycv.paper import SHOWN_SAMPLES
from raycv.run.paths import NETS, NULL, Key
from raycv.stages.collect.collector import PILOT_IMAGES, Collector, Images, Recording, build_untrained, kinds_of
from raycv.stages.collect.nulls import by_chance, draws_by_chance
from raycv.stages.collect.reducer import Gathered, gather_samples, merge_patches, reduce_part, reduce_sums, to_arrays
from raycv.stages.collect.task import (
    NAME,
    Chance,
    Information,
    LayerSamples,
    Pass,
    Patches,
    Reduction,
    Summing,
    Testing,
)
from raycv.statistics.reader import Statistics


@ray.remote(max_restarts=-1, max_task_retries=0)
class ShardActor:
    """Holds all networks of a run; turns shards into partials and partials into statistics."""

    def __init__(self, task: Pass) -> None:
        self.task = task
        self.loaded: Collector | None = None
        self.pilots: dict[Key, np.ndarray] | None = None
        # A GPU is fed by its share of the node's cores; an actor on a core decodes for itself.
        readers = cores_of_gpu() if task.use_gpu else 1
        self.decoder = Decoder(task.source, min(readers, os.cpu_count() or 1))

    def __repr__(self) -> str:
        return f"ShardActor({len(self.task.networks)} networks)"

    def ready(self) -> str:
        """Return, once the networks are loaded, the kind of device that they are on."""
        self._collector()
        return kind(self.device)

    @property
    def device(self) -> torch.device:
        """Where networks run."""
        return of_worker(use_gpu=self.task.use_gpu)

    @property
    def sums(self) -> torch.device:
        """Where their activations are added up."""
        return for_float64(self.device)

    def _collector(self) -> Collector:
        """The collector, made on first use: Ray would retry a failing __init__ for ever."""
        if self.loaded is None:
            task = self.task
            settle(self.device)
            nets: dict[str, torch.nn.Module | Recording] = {
                n.spec.name: load_weights(n.spec, weights_of(task.store, n))
                for n in task.networks
                if not n.spec.is_recorded
            }
            nets |= build_untrained(task.groups.get(NULL, ()))
            nets |= self._recordings()
            self.loaded = Collector(task.groups, nets, self.device, task.precision)
        return self.loaded

    def _recordings(self) -> dict[str, Recording]:
        """The recorded activations among the networks, their samples in the order of the images."""
        task = self.task
        specs = [network.spec for network in task.networks if network.spec.is_recorded]
        images = len(task.source) if len(specs) < len(task.networks) else None
        self.copies = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # for as long as the actor lives
        found = [opened(spec).in_any_order(self.copies.name) for spec in specs]
        in_order = zip(specs, found, orders(found, images), strict=True)
        return {spec.name: Recording(recorded, order) for spec, recorded, order in in_order}

    def make_pilot(self, shard: Shard) -> None:
        """Compute the pilot from the first images of the shard and store it."""
        numbers = shard.images[:PILOT_IMAGES]
        pilot = self._collector().pilot(self._decode(numbers)[0], numbers)
        self.task.keep(self.task.pilot_path, {str(key): means for key, means in pilot.items()})

    def collect(self, shard: Shard) -> float:
        """Store the partial of one shard; return the seconds it took."""
        began = time.monotonic()
        images, labels = self._decode(shard.images)
        found = self._collector().partial(images, shard.images, self._pilots(), len(self.task.source))
        self.task.keep(self.task.partial_path(shard.number), to_arrays(found, shard.images, labels))
        return time.monotonic() - began

    def reduce(self, reduction: Reduction) -> None:
        """Add up one part of one layer of one fold in the order of its shards and store the moments."""
        self.loaded = None  # the networks are not needed any more
        key = reduction.key
        pilot = np.split(self._pilots()[key], np.cumsum(reduction.widths)[:-1])
        found = reduce_part(self._partials(reduction.shards), key, reduction.part, pilot, self.sums)
        # Every image must be counted exactly once at each position.
        if found["count"] % reduction.images:
            raise RuntimeError(
                f"{reduction} counted {found['count']} samples, not a multiple of {reduction.images} images"
            )
        self.task.store.write_arrays(reduction.path(self.task.folder), found)

    def sum(self, summing: Summing) -> None:
        """Add up the sums of single units of one layer of one fold of eight and store them."""
        key = summing.key
        pilot = np.split(self._pilots()[key], np.cumsum(summing.widths)[:-1])
        found = reduce_sums(self._partials(summing.shards), key, pilot, self.sums)
        self.task.store.write_arrays(summing.path(self.task.folder), found)

    def rank(self, patches: Patches) -> None:
        """Merge the top patches of one layer over all shards and store them."""
        merged = merge_patches(self._partials(patches.shards), Key(NETS, patches.layer))
        self.task.store.write_arrays(patches.path(self.task.folder), merged)

    def draw(self, drawing: LayerSamples) -> None:
        """Store the samples of one layer of one network in the order of their ranks, and those of NETS binned too."""
        key, network = drawing.key, drawing.network
        samples = gather_samples(self._partials(drawing.shards), key, network)
        if key.group == NETS:
            values = samples.values
            shown = drawing.shown_path(self.task)
            if shown is not None:
                self.task.store.write_arrays(shown, {"samples": values[:SHOWN_SAMPLES]})
            codes = encode(values, bin_edges(values))
            self.task.keep(self.task.codes_path(key.layer, network), {"codes": codes})
        self.task.keep(self.task.drawn_path(key, network), samples.arrays())
        if "tested" in kinds_of(key):
            tested = gather_samples(self._partials(drawing.shards), key, network, "tested")
            self.task.keep(self.task.tested_path(key, network), tested.arrays())

    def inform(self, wanted: Information) -> None:
        """Store the mutual information of some of one network's units and all of another's."""
        block = wanted.block
        a = self._codes(wanted.layer, block.a)
        rows = self._placed(a[block.first : block.last])
        if block.a < block.b:
            found = pairwise_information(rows, self._placed(self._codes(wanted.layer, block.b)), BINS)
        else:  # each pair of units within one network is computed once; those before the block are in earlier ones
            own, later = (
                pairwise_information(rows, columns, BINS) for columns in (rows, self._placed(a[block.last :]))
            )
            before = np.zeros((len(rows), block.first))
            found = MutualInformation(*(np.hstack([before, *both]) for both in zip(own, later, strict=True)))
        self.task.store.write_arrays(
            wanted.path(self.task.folder), {"value": found.value, "corrected": found.corrected}
        )

    def chance(self, chance: Chance) -> None:
        """Store what some other networks' units have in common with chance in the place of one network's."""
        key = chance.key

        def coded(network: int) -> Codes:
            return self._placed(self._codes(key.layer, network))

        def drawn(network: int) -> Gathered:
            return self._gathered(self.task.drawn_path(key, network))

        arrays = by_chance(chance, drawn, coded if key.group == NETS else None, self.sums)
        self.task.store.write_arrays(chance.path(self.task.folder), arrays)

    def test(self, testing: Testing) -> None:
        """Store the draws by which some other networks' single units are tested against chance."""

        def tested(network: int) -> Gathered:
            return self._gathered(self.task.tested_path(testing.key, network))

        arrays = draws_by_chance(testing, tested, self._left_out(testing), self.sums)
        self.task.store.write_arrays(testing.path(self.task.folder), arrays)

    def _decode(self, numbers: np.ndarray) -> tuple[Images, np.ndarray]:
        """Images, or texts, in each way the networks want them, and their labels."""
        images: dict[Resize | Tokens, np.ndarray] = {}
        labels = np.full(len(numbers), -1)  # of recordings and texts
        if isinstance(self.task.source.reader, Documents):
            documents = self.task.source.reader.documents(numbers)
            return {how: how.encode(documents) for how in self._collector().sequences}, labels
        for resizing in sorted(self._collector().resizings):
            images[resizing], labels = joined(self.decoder.begin(numbers, resizing))
        return images, labels

    def _pilots(self) -> dict[Key, np.ndarray]:
        if self.pilots is None:
            stored = self.task.store.read_arrays(self.task.pilot_path)
            self.pilots = {Key(*name.split("/", 1)): means for name, means in stored.items() if name != NAME}
        return self.pilots

    def _gathered(self, path: str) -> Gathered:
        return Gathered.from_arrays(self.task.store.read_arrays(path))

    def _left_out(self, testing: Testing) -> list[np.ndarray]:
        """By network, the units that take no part in the averages of a layer, from its moments."""
        task, key = self.task, testing.key
        folds, widths = {key: testing.folds}, {key: testing.widths}
        found = Statistics(
            task.store, task.groups, folds, widths, task.folder, testing.images, keep_rare=task.keep_rare
        )
        return found.left_out(key.layer, key.group)

    def _codes(self, layer: str, network: int) -> np.ndarray:
        return self.task.store.read_arrays(self.task.codes_path(layer, network))["codes"]

    def _placed(self, codes: np.ndarray) -> Codes:
        return codes if self.sums.type == "cpu" else torch.from_numpy(codes).to(self.sums)

    def _partials(self, shards: Sequence[int]) -> Iterator[Mapping[str, np.ndarray]]:
        for shard in shards:
            with self.task.store.open_arrays(self.task.partial_path(shard)) as arrays:
                yield arrays
