"""A run with complete statistics of layers as wide as asked for: no network is trained, and Ray is not needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from raycv.analysis.information import BINS, bin_edges, encode, pairwise_information
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.networks.nonlinearity import RELU
from raycv.paper import TOP_PATCHES
from raycv.run import record
from raycv.run.paths import NETS, Key, information_path, patches_path, samples_path
from raycv.run.store import RunStore
from raycv.stages.collect.nulls import by_chance
from raycv.stages.collect.reducer import Gathered
from raycv.stages.collect.task import Chance
from raycv.statistics.moments import JointMoments
from raycv.statistics.parts import information_blocks, others_by_part
from tests.support.runs import moments_of, specs, write_draws, write_statistics

LAYERS = ("conv1", "conv2")
NARROW = 4  # units of conv1 in the networks themselves, which nothing here runs
FOLDS, IN_FOLD = 8, 200  # samples


def activations(width: int, networks: int) -> list[np.ndarray]:
    """Before the ReLU (samples, width): mixtures of common causes, and noise."""
    rng = np.random.default_rng(0)
    causes = rng.standard_normal((FOLDS * IN_FOLD, 40))
    return [
        (causes @ rng.standard_normal((40, width)) + 2 * rng.standard_normal((len(causes), width))).astype(np.float32)
        for _ in range(networks)
    ]


def folds_of(before: Sequence[np.ndarray]) -> list[JointMoments]:
    """Their moments after the ReLU, fold by fold."""
    parts = [slice(IN_FOLD * fold, IN_FOLD * (fold + 1)) for fold in range(FOLDS)]
    return [moments_of([np.maximum(net[part], 0) for net in before]) for part in parts]


def write_wide_run(store: RunStore, width: int, networks: int = 2) -> RunStore:
    """Both layers have the same ``width`` and the same statistics."""
    before = activations(width, networks)
    drawn = [Gathered(net, RELU, np.zeros(len(net), np.int64)) for net in before]
    coded = [encode(found.values, bin_edges(found.values)) for found in drawn]
    folder, nets = "statistics/0123456789abcdef", specs([NARROW] * networks, LAYERS)
    for layer in LAYERS:
        for block in information_blocks([width] * networks):
            found = pairwise_information(coded[block.a][block.first : block.last], coded[block.b], BINS)
            arrays = {"value": found.value, "corrected": found.corrected}
            store.write_arrays(information_path(folder, layer, block.a, block.b, block.first), arrays)
        for n in range(networks):
            for number, others in enumerate(others_by_part([width] * networks, n)):
                chance = Chance(Key(NETS, layer), n, number, others)
                of_chance = by_chance(chance, drawn.__getitem__, coded.__getitem__, torch.device("cpu"))
                store.write_arrays(chance.path(folder), of_chance)
                write_draws(store, chance, drawn)
            if n < 2:
                store.write_arrays(samples_path(folder, layer, n), {"samples": drawn[n].values})
        none = np.zeros((width, TOP_PATCHES), np.int64)
        tops = {f"{n}/{name}": none for n in range(networks) for name in ("value", "image", "position", "label")}
        store.write_arrays(patches_path(folder, layer), tops)
    folds = folds_of(before)
    write_statistics(store, nets, dict.fromkeys(LAYERS, folds), images=FOLDS * IN_FOLD)
    for net in nets:
        checkpoints.save(store, net, build(net).state_dict())
    for stage in ("train", "collect"):
        record.finish(store, stage, stage, {}, {})
    return store
