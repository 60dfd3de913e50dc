"""Wide layers: `python -m benchmarks.wide --units 256,512,1024 --folder F`.

What the parts of `raycv collect` and `raycv align` take for one pair of networks in one layer, on one thread: processor
time, and the peak memory of a process that does it alone, beyond what the libraries take. The layer's activations are
made here: rectified signals, of which both networks share one half. A layer of N networks has N (N - 1) / 2 such pairs,
which are independent of one another. SAMPLES=10000 (default) in the environment says how many samples there are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.machine import in_words
from raycv import statistics
from raycv.analysis.information import BINS, MutualInformation, bin_edges, encode, pairwise_information
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.nonlinearity import RELU
from raycv.networks.spec import NetworkSpec
from raycv.run import tables
from raycv.run.paths import NETS, STATISTICS, Key, chance_path, information_path, moments_path
from raycv.run.store import RunStore
from raycv.stages.align.comparison import AlignTask, PairValues, compare
from raycv.stages.align.rows import pair_rows
from raycv.stages.collect.nulls import by_chance, draws_by_chance
from raycv.stages.collect.reducer import Gathered, reduce_part
from raycv.stages.collect.task import Chance, Testing
from raycv.statistics.parts import information_blocks, others_by_part, parts

SAMPLES = int(os.environ.get("SAMPLES", "10000"))
NETWORKS, FOLDS = 2, 2
KEY, FOLDER, CPU = Key(NETS, "fc6"), "statistics/made", torch.device("cpu")


def before_relu(units: int, network: int) -> np.ndarray:
    """(SAMPLES, units) float32: half of each unit is a signal that the other networks' units of that number have."""
    shared, own = (np.random.default_rng(seed).standard_normal((SAMPLES, units), np.float32) for seed in (9, network))
    mixed: np.ndarray = (shared + own) / np.float32(np.sqrt(2))
    return mixed


def moments(store: RunStore, units: int) -> None:
    """One part of the moments, as an actor makes it from the rows of a fully connected layer; writes all parts."""
    rows = [before_relu(units, network) for network in range(NETWORKS)]
    pilot = [np.maximum(values, 0).mean(0) for values in rows]
    for fold in range(FOLDS):
        part_of = slice(fold * SAMPLES // FOLDS, (fold + 1) * SAMPLES // FOLDS)
        shard = {f"rows/{KEY}/{n}": values[part_of] for n, values in enumerate(rows)}
        shard |= {f"nonlinearity/{KEY}/{n}": np.array(RELU.text()) for n in range(NETWORKS)}
        for number, part in enumerate(parts([units] * NETWORKS)):
            found = reduce_part([shard], KEY, part, pilot, CPU)
            store.write_arrays(moments_path(FOLDER, KEY, fold, number), found)


def information(store: RunStore, units: int) -> None:
    """Mutual information of the units of one network with those of the other; within each it is left at 0."""
    codes = [encode(rows, bin_edges(rows)) for rows in (np.maximum(before_relu(units, n), 0) for n in range(NETWORKS))]
    for block in information_blocks([units] * NETWORKS):
        rows = codes[block.a][block.first : block.last]
        nothing = np.zeros((len(rows), units))
        found = MutualInformation(nothing, nothing)
        if block.a < block.b:
            found = pairwise_information(rows, codes[block.b], BINS)
        path = information_path(FOLDER, KEY.layer, block.a, block.b, block.first)
        store.write_arrays(path, {"value": found.value, "corrected": found.corrected})


def chance(store: RunStore, units: int) -> None:
    """What each network has in common with chance in the place of the other."""

    def drawn(network: int) -> Gathered:
        return Gathered(before_relu(units, network), RELU, np.zeros(SAMPLES, np.int64))

    def coded(network: int) -> np.ndarray:
        rows = np.maximum(before_relu(units, network), 0)
        return encode(rows, bin_edges(rows))

    for network in range(NETWORKS):
        for number, others in enumerate(others_by_part([units] * NETWORKS, network)):
            arrays = by_chance(Chance(KEY, network, number, others), drawn, coded, CPU)
            store.write_arrays(chance_path(FOLDER, KEY, network, number), arrays)


def tests(store: RunStore, units: int) -> None:
    """The draws by which each network's units are tested against the other's."""

    def drawn(network: int) -> Gathered:
        return Gathered(before_relu(units, network), RELU, np.zeros(SAMPLES, np.int64))

    widths, live = (units,) * NETWORKS, [np.zeros(units, bool)] * NETWORKS
    for network in range(NETWORKS):
        for number, others in enumerate(others_by_part([units] * NETWORKS, network)):
            testing = Testing(KEY, network, number, others, 1, widths, SAMPLES)
            store.write_arrays(testing.path(FOLDER), draws_by_chance(testing, drawn, live, CPU))


def align(store: RunStore, units: int) -> None:
    """All that `raycv align` finds of a pair of networks but the rows of its tables."""
    compare(statistics.read(store), AlignTask(KEY.layer, NETS, (0, 1), False))


def pair_tables(store: RunStore, units: int) -> None:
    """The rows of all pairs of units of two networks."""
    found = statistics.read(store)
    with tables.Writer(store, "correlations", [KEY.layer]) as writer:
        values = PairValues(
            "correlations", 0, 1, {"value": np.random.default_rng(0).random((units, units), np.float32)}
        )
        for rows in pair_rows(found.networks, values):
            writer.add(KEY.layer, rows)


def index(store: RunStore, units: int) -> None:
    """What says which statistics there are."""
    specs = [
        NetworkSpec(
            name=f"net{n + 1}",
            model="small-alexnet",
            classes=10,
            seed=n,
            layers=(KEY.layer,),
            preprocessing=preprocessing_of("small-alexnet"),
        )
        for n in range(NETWORKS)
    ]
    content = {
        "format": statistics.FORMAT,
        "groups": {NETS: [spec.model_dump(mode="json") for spec in specs]},
        "folds": {str(KEY): FOLDS},
        "widths": {str(KEY): [units] * NETWORKS},
        "folder": FOLDER,
        "images": SAMPLES,
    }
    store.write_json(STATISTICS, content)


PARTS: dict[str, Callable[[RunStore, int], None]] = {
    "moments": moments,
    "information": information,
    "chance": chance,
    "align": align,
    "tables": pair_tables,
}


def alone(part: str, folder: str, units: int) -> tuple[float, float]:
    """Do one part in a process of its own, which has the libraries loaded: its seconds, and its peak in MiB."""
    with threadpool_limits(1):
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        PARTS[part](RunStore(folder), units)
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return seconds, peak / 1024


def main() -> None:
    """Measure all parts for every number of units."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", default="256,512,1024")
    parser.add_argument("--folder", required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    codes = np.zeros((2, 100), np.uint8)
    pairwise_information(codes, codes, BINS)  # compiled or loaded
    print(f"{in_words()}; {SAMPLES:,} samples, one thread; seconds and MiB")
    print("| units | " + " | ".join(PARTS) + " |", flush=True)
    for units in map(int, given.units.split(",")):
        folder = f"{given.folder}/{units}"
        index(RunStore(folder), units)
        cells = []
        with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
            for part in PARTS:
                seconds, mib = pool.apply(alone, (part, folder, units))
                cells.append(f"{seconds:.1f}, {mib:,.0f}")
        print(f"| {units:,} | " + " | ".join(cells) + " |", flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
