"""The pass against a plain PyTorch loop that only runs the forward passes: `python -m benchmarks.collect`.

Same networks (four and the two untrained ones), same batches, one thread. Ratios below are time of the pass over time
of the loop. Then the same pass through Ray with one and with two actors.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.machine import best, in_words
from raycv import checkpoints
from raycv.cli import main as raycv
from raycv.collect.collector import BATCH, Collector, Groups, untrained
from raycv.collect.moments import Accumulator
from raycv.networks import ALEXNET_LAYERS, NetworkSpec, build, preprocessing_of
from raycv.store import RunStore


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
    groups: Groups = {"nets": specs, "null": untrained(specs)}
    nets = {spec.name: build(spec) for group in groups.values() for spec in group}
    collector = Collector(groups, nets, torch.device("cpu"))
    size = specs[0].preprocessing.resize
    images = np.random.default_rng(0).integers(0, 256, (case.images, size, size, 3), dtype=np.uint8)
    numbers = np.arange(case.images)
    pilot = collector.pilot(images[:BATCH])

    @torch.inference_mode()
    def loop() -> None:
        for start in range(0, case.images, BATCH):
            batch = collector.preprocessing.evaluation(torch.from_numpy(images[start : start + BATCH]))
            for net in nets.values():
                net(batch)

    forward, whole = best(loop), best(lambda: collector.partial(images, numbers, pilot, 50_000))
    return f"| {case.name} | {case.images / forward:,.0f} | {case.images / whole:,.0f} | {whole / forward:.2f} |"


def product_rate() -> str:
    """Moments of one layer against the float32 matrix product that they would be if nothing else had to be done."""
    return "\n".join(_product_rate(units) for units in (384, 1024, 1536))


def _product_rate(units: int, samples: int = 8192) -> str:
    activations = [torch.randn(samples, units // 4).relu() for _ in range(4)]
    stacked = torch.cat(activations, 1)
    accumulator = Accumulator([units // 4] * 4, np.zeros(units, np.float32), torch.device("cpu"))
    product, moments = best(lambda: stacked.T @ stacked), best(lambda: accumulator.add(activations))
    rate = 2e-9 * samples * units**2
    return f"| {units} | {rate / product:,.0f} | {rate / moments:,.0f} | {product / moments:.2f} |"


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
    print(actors(CASES[1], (1, 2)), flush=True)


if __name__ == "__main__":
    main()
