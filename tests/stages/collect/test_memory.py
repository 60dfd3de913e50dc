"""Peak memory of a collector and of a reduction, measured in a process of their own, against the stated formula."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, sys
import numpy as np, torch
torch.set_num_threads(1)

def peak():  # of this program alone: what getrusage says begins with the peak of the process that started it
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

from raycv.statistics.accumulator import Accumulator
from raycv.stages.collect.collector import Collector
from raycv.stages.collect.groups import untrained_specs
from raycv.stages.collect.memory import actor_bytes
from raycv.analysis.top_patches import TopPatches, peaks
from raycv.statistics.parts import parts
from raycv.stages.collect.reducer import reduce_part, to_arrays
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.models import build
from raycv.run.paths import NETS, NULL, Key
from raycv.run.store import RunStore

model, width, shard, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
specs = tuple(
    NetworkSpec(name=f"net{n}", model=model, classes=10, seed=n, layers=ALEXNET_LAYERS,
                preprocessing=preprocessing_of(model), width=width)
    for n in (1, 2, 3, 4)
)
groups = {NETS: specs, NULL: untrained_specs(specs)}
needed = actor_bytes(groups, shard, 50_000)
warm = build(specs[0].model_copy(update={"model": "small-alexnet", "width": 3,
                                         "preprocessing": preprocessing_of("small-alexnet")}))
warm(torch.zeros(2, 3, 32, 32))
for width in (4, 200):  # kernels compiled or loaded
    Accumulator([width], np.zeros(width, np.float32), torch.device("cpu")).add([torch.zeros(8, width)])
    TopPatches.of([peaks(torch.zeros(8, width), 8)], np.arange(8))
before = peak()
nets = {spec.name: build(spec) for group in groups.values() for spec in group}
collector = Collector(groups, nets, torch.device("cpu"))
store = RunStore(folder)
size = specs[0].preprocessing.resize
images = np.random.default_rng(0).integers(0, 256, (shard, size, size, 3), dtype=np.uint8)
way = specs[0].preprocessing.resizing
pilot = collector.pilot({way: images[:64]}, np.arange(64))
for number in range(3):
    numbers = np.arange(shard) + shard * number
    partial = collector.partial({way: images}, numbers, pilot, 50_000)
    store.write_arrays(f"{number}.npz", to_arrays(partial, numbers, numbers % 10))
    del partial
def partials():
    for number in range(3):
        with store.open_arrays(f"{number}.npz") as arrays:
            yield arrays
for key in (Key(NETS, "conv3"), Key(NETS, "fc6")):
    widths = [sizes_of(spec).layers[key.layer][0] for spec in specs]
    of_nets = np.split(pilot[key], np.cumsum(widths)[:-1])
    for part in parts(widths):
        reduce_part(partials(), key, part, of_nets, torch.device("cpu"))
print(json.dumps({"needed": needed, "used": peak() - before}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("model", "width", "shard"), [("small-alexnet", 48, 256), ("alexnet", 24, 64)])
def test_peak_memory_is_within_the_formula(model: str, width: int, shard: int, tmp_path: object) -> None:
    command = [sys.executable, "-c", MEASURE, model, str(width), str(shard), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["used"] <= 1.1 * found["needed"] + 50 * 2**20, found
    assert found["used"] >= 0.2 * found["needed"], found  # the formula is a bound, not a wish
