"""The pass against a plain PyTorch loop that only runs the forward passes: `python -m benchmarks.collect`.

Same networks (four and the two untrained ones), same batches, one thread. Ratios below are time of the pass over time
of the loop. Then the same pass through Ray with one and with two actors.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.machine import best, in_words
from raycv.cli import main as raycv
from raycv.data.readers import EMBEDDED
from raycv.data.sources import open_source
from raycv.networks import checkpoints
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.models import build
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec
from raycv.run.paths import NETS, NULL
from raycv.run.store import RunStore
from raycv.stages.collect.collector import Collector
from raycv.stages.collect.groups import BATCH, Groups, untrained_specs
from raycv.stages.collect.reducer import to_arrays
from raycv.statistics.accumulator import Accumulator
from raycv.statistics.parts import added


@dataclass(frozen=True)
class Case:
    """Four networks of one architecture and how many images they are shown."""

    name: str
    model: str
    width: int
    classes: int
    images: int


CASES = (
    Case("small AlexNet, 32 pixels, width 18", "small-alexnet", 18, 10, 512),
    Case("small AlexNet, 32 pixels, width 36", "small-alexnet", 36, 10, 512),
    Case("the paper's AlexNet, 227 pixels", "alexnet", 96, 1000, 64),
)


def specs_of(case: Case) -> tuple[NetworkSpec, ...]:
    """Four seeds."""
    return tuple(
        NetworkSpec(
            name=f"net{seed}",
            model=case.model,
            classes=case.classes,
            seed=seed,
            layers=ALEXNET_LAYERS,
            preprocessing=preprocessing_of(case.model),
            width=case.width,
        )
        for seed in (1, 2, 3, 4)
    )


def measure(case: Case) -> str:
    """One row: seconds of the loop, of the pass, their ratio, and of the pass's products over the machine's rate."""
    specs = specs_of(case)
    groups: Groups = {NETS: specs, NULL: untrained_specs(specs)}
    nets = {spec.name: build(spec) for group in groups.values() for spec in group}
    collector = Collector(groups, nets, torch.device("cpu"))
    size = specs[0].preprocessing.resize
    images = np.random.default_rng(0).integers(0, 256, (case.images, size, size, 3), dtype=np.uint8)
    numbers = np.arange(case.images)
    given, preprocessing = {specs[0].preprocessing.resizing: images}, specs[0].preprocessing
    pilot = collector.pilot({specs[0].preprocessing.resizing: images[:BATCH]}, numbers[:BATCH])

    @torch.inference_mode()
    def loop() -> None:
        for start in range(0, case.images, BATCH):
            batch = preprocessing.evaluation(torch.from_numpy(images[start : start + BATCH]))
            for net in nets.values():
                net(batch)

    forward, whole = best(loop), best(lambda: collector.partial(given, numbers, pilot, 50_000))
    return f"| {case.name} | {case.images / forward:,.0f} | {case.images / whole:,.0f} | {whole / forward:.2f} |"


def product_rate() -> str:
    """Moments of one layer against the float32 matrix product alone, without any other work."""
    return "\n".join(_product_rate(units) for units in (384, 1024, 1536, 8192))


def _product_rate(units: int) -> str:
    samples = 2048 if units > 4096 else 8192
    activations = [torch.randn(samples, units // 4).relu() for _ in range(4)]
    stacked = torch.cat(activations, 1)
    accumulator = Accumulator([units // 4] * 4, np.zeros(units, np.float32), torch.device("cpu"))
    product, moments = best(lambda: stacked.T @ stacked), best(lambda: accumulator.add(activations))
    rate = 2e-9 * samples * units**2
    return f"| {units} | {rate / product:,.0f} | {rate / moments:,.0f} | {product / moments:.2f} |"


def shares(case: Case) -> tuple[str, int, float, float]:
    """Where the time of a shard goes; also its partial's bytes, and seconds to write and to merge one."""
    specs = specs_of(case)
    groups: Groups = {NETS: specs, NULL: untrained_specs(specs)}
    nets = {spec.name: build(spec) for group in groups.values() for spec in group}
    collector = Collector(groups, nets, torch.device("cpu"))
    preprocessing = specs[0].preprocessing
    resizing = preprocessing.resizing
    source = open_source(
        EMBEDDED, "validation"
    )  # small images enlarged: decoding is a little cheaper than of photographs
    numbers = np.arange(case.images)
    images, labels = source.decode(numbers, resizing)
    given = {resizing: images}
    pilot = collector.pilot({resizing: images[:BATCH]}, numbers[:BATCH])
    decoding = best(lambda: source.decode(numbers, resizing))
    preparing = best(
        lambda: [
            preprocessing.evaluation(torch.from_numpy(images[start : start + BATCH]))
            for start in range(0, case.images, BATCH)
        ]
    )

    @torch.inference_mode()
    def forward() -> None:
        for start in range(0, case.images, BATCH):
            batch = preprocessing.evaluation(torch.from_numpy(images[start : start + BATCH]))
            for net in nets.values():
                net(batch)

    passes = best(forward) - preparing
    whole = best(lambda: collector.partial(given, numbers, pilot, 50_000))
    arrays = to_arrays(collector.partial(given, numbers, pilot, 50_000), numbers, labels)
    bytes_ = sum(array.nbytes for array in arrays.values())
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        writing = best(lambda: store.write_arrays("partial.npz", arrays))
        merging = best(lambda: _merge_all(store, [key for key in arrays if key.endswith("/count")]))
    total = decoding + whole + writing
    parts = {
        "forward passes": passes,
        "statistics": whole - passes - preparing,
        "input": decoding + preparing,
        "writing the partial": writing,
    }
    row = " | ".join(f"{100 * seconds / total:.0f}%" for seconds in parts.values())
    return f"| {case.name}, shard of {case.images} | {row} |", bytes_, writing, merging


def _merge_all(store: RunStore, counts: list[str]) -> None:
    """Add the partial's moments to themselves, reading them as the reduction does."""
    for name in counts:
        prefix = name.removesuffix("count")
        with store.open_arrays("partial.npz") as arrays:
            moments = {of: arrays[of] for of in arrays if of.startswith(prefix)}
        added(added(None, moments), moments)


def actors(case: Case, counts: tuple[int, ...]) -> str:
    """The whole pass through Ray over the embedded validation images, by number of actors."""
    rows, first = [], 0.0
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(folder)
            for spec in specs_of(case):
                checkpoints.save(store, spec, build(spec).state_dict())
            if raycv(["collect", "--run", folder, "--actors", str(count), "--shard-size", "64"]):
                sys.exit("the pass failed")
            facts = json.loads(store.read("run.json"))["stages"]["collect"]
            rate = facts["images"] / facts["seconds"]["pass"]
            first = first or rate
            rows.append(f"| {count} | {rate:,.0f} | {rate / first:.2f} |")
    return "\n".join(rows)


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print(f"Machine: {in_words()}\n")
    print("| four networks and two untrained | forward only, images/s | the pass, images/s | time ratio |")
    print("|---|---|---|---|")
    for case in CASES:
        print(measure(case), flush=True)
    print("\n| stacked units | float32 product, GF/s | moments, as full products, GF/s | ratio |\n|---|---|---|---|")
    print(product_rate(), flush=True)
    print("\n| actors | images/s | against one |\n|---|---|---|")
    print(actors(CASES[1], (1, 2, 4)), flush=True)
    print("\n| where the time of a shard goes | forward | statistics | input | writing |\n|---|---|---|---|---|")
    for case in (replace(CASES[0], images=256), replace(CASES[2], images=128)):
        row, size, writing, merging = shares(case)
        print(row, flush=True)
    print(
        f"\nA partial of the last case: {size / 2**20:.0f} MiB, written in {writing:.2f} s, "
        f"read and merged in {merging:.2f} s."
    )


if __name__ == "__main__":
    main()
