"""Which processors PyTorch can use, and training and the pass on one without float64, as Apple's GPUs have none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raycv import devices
from raycv.devices import Usable
from raycv.errors import UserError
from tests.support.apple import run_on_apple

CPU = torch.device("cpu")
WITHOUT_GPU = not torch.accelerator.is_available()


@pytest.mark.skipif(not WITHOUT_GPU, reason="of machines without a GPU")
def test_a_machine_without_a_gpu() -> None:
    there = devices.found()
    assert there.kind == "CPU"
    assert "PyTorch" in there.why
    assert devices.of_worker(use_gpu=False) == devices.local("auto") == devices.local("gpu") == CPU
    with pytest.raises(
        UserError, match=r"^Ray counts a GPU on \S+ that PyTorch cannot use \(.+\); use --device cpu, or"
    ):
        devices.of_worker(use_gpu=True)


def test_kinds_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", None)
    assert [devices.kind(name) for name in ("cpu", "cuda", "cuda:1", "mps", "xpu")] == [
        "CPU",
        "CUDA",
        "CUDA",
        "MPS",
        "XPU",
    ]
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert devices.kind("cuda") == "ROCm"


def test_nothing_is_drawn_from_the_generator_of_a_user() -> None:
    before = torch.get_rng_state()
    with devices.random_states_kept():
        torch.manual_seed(7)
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)


IN_MEMORY = """
from dataclasses import replace
import numpy as np, torch
from raycv import devices
from raycv.config import TrainConfig
from raycv.networks.evaluation import evaluate, in_batches
from raycv.networks.models import build
from raycv.run.paths import NETS
from raycv.stages.collect.collector import Collector
from raycv.stages.train.learning import make_optimizer, train_epoch
from raycv.stages.train.recipe import recipe_of
from tests.support.no_float64 import device_without_float64
from tests.support.runs import spec

CPU, one = torch.device("cpu"), spec(1, 12)
pixels = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
labels, numbers = np.arange(100) % 10, np.arange(100)

def epoch(device):
    net = build(one).to(device)
    recipe = replace(recipe_of(one.model, TrainConfig()), epochs=1, dropout=0.0)
    batches = in_batches(pixels, labels, 32)
    about = {"epoch": 0, "steps": 3, "seed": 1, "device": device}
    loss = train_epoch(net, batches, make_optimizer(net, recipe), recipe, one.preprocessing, **about)
    return [loss, evaluate(net.eval(), in_batches(pixels, labels, 32), one.preprocessing, device).loss]

def partial(device):
    nets = {number.name: build(number).eval() for number in (one, spec(2, 12))}
    collector = Collector({NETS: (one, spec(2, 12))}, nets, device)
    images = {one.preprocessing.resizing: pixels}
    return collector.partial(images, numbers, collector.pilot(images, numbers), 100)

with device_without_float64() as apple:
    print(devices.found().kind, devices.found().float64, devices.of_worker(use_gpu=True), devices.local("gpu"))
    devices.settle(apple)
    devices.multiplies_bfloat16 = lambda _device: False
    torch.Tensor.backward = lambda _loss: None  # PyTorch has no thread for the gradients of a device in Python
    np.testing.assert_allclose(epoch(apple), epoch(CPU), rtol=1e-5)
    here, there = partial(CPU), partial(apple)
    for key, moments in here.moments.items():
        for strip, other in zip(moments.strips(), there.moments[key].strips(), strict=True):
            np.testing.assert_allclose(other, strip, rtol=1e-5, atol=1e-5 * np.abs(strip).max())
    for key, rows in here.rows.items():
        np.testing.assert_allclose(there.rows[key][0], rows[0], rtol=1e-4, atol=1e-5)
print("the same")
"""


def test_training_and_the_pass_without_float64() -> None:
    assert run_on_apple(IN_MEMORY) == ["APPLE False apple cpu", "the same"]


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_what_needs_float64_is_computed_where_there_is_one(
    device: devices.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "found", lambda: Usable("MPS", float64=False))
    assert devices.local(device) == CPU
    assert devices.in_float64(torch.ones(2)).dtype == torch.float64
    assert np.isclose(float(devices.in_float64(torch.tensor(0.1))), np.float32(0.1))
