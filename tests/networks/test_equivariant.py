"""Networks without special units: rotated twins stay twins in training, and no unit has an excess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import raycv
from benchmarks.equivariant import network
from raycv.analysis.contrasts import contrast
from raycv.config import TrainConfig
from raycv.data.preprocessing import Resize
from raycv.data.readers import own_images
from raycv.data.sources import open_source
from raycv.stages.train.learning import make_optimizer
from raycv.stages.train.recipe import recipe_of

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
MODEL = "benchmarks.equivariant:network"


def rotation(units: int, seed: int) -> Tensor:
    found = np.linalg.qr(np.random.default_rng(seed).standard_normal((units, units)))[0]
    return torch.from_numpy(found)


def rotate(net: nn.Module) -> dict[str, Tensor]:
    """Rotate the units of every layer in place, and undo it in the next layer's weights; the rotations by layer."""
    rotations = {}
    names = [*LAYERS, "fc8"]
    with torch.no_grad():
        for number, (name, following) in enumerate(pairwise(names)):
            here, there = weighted(net, name), weighted(net, following)
            rotations[name] = turn = rotation(len(here.weight), number)
            here.weight.copy_(torch.tensordot(turn, here.weight, dims=1))
            assert here.bias is not None
            here.bias.copy_(turn @ here.bias)
            wide = there.weight.shape
            inputs = there.weight.reshape(
                wide[0], len(turn), -1, *wide[2:]
            )  # a fully connected layer sees units at positions
            there.weight.copy_(torch.einsum("ij,ojp...->oip...", turn, inputs).reshape(there.weight.shape))
    return rotations


def weighted(net: nn.Module, name: str) -> nn.Conv2d | nn.Linear:
    module = net.get_submodule(name)
    found = module[0] if isinstance(module, nn.Sequential) else module
    assert isinstance(found, nn.Conv2d | nn.Linear)
    assert found.bias is not None
    return found


def trained(net: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], steps: int) -> None:
    """As raycv trains such a model."""
    config = TrainConfig(run="run", model=(MODEL,), learning_rate=0.02, schedule="one-cycle", batch_size=64)
    recipe = replace(recipe_of(MODEL, config), epochs=1)
    optimizer = make_optimizer(net, recipe)
    for step in range(steps):
        images, labels = batches[step % len(batches)]
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step / steps) * group["rate"]
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.fixture(scope="module")
def batches() -> list[tuple[Tensor, Tensor]]:
    source = open_source(str(own_images()), "train")
    pixels, labels = source.decode(np.arange(1280), Resize(32))
    inputs = network()[1].evaluation(torch.from_numpy(pixels))
    return [(inputs[n : n + 64], torch.from_numpy(labels[n : n + 64])) for n in range(0, 1280, 64)]


def test_a_rotated_twin_gives_the_same_outputs_and_stays_one_in_training(batches: list[tuple[Tensor, Tensor]]) -> None:
    torch.manual_seed(0)
    net, twin = (network()[0].double() for _ in range(2))
    twin.load_state_dict(net.state_dict())
    rotations = rotate(twin)
    before = net.state_dict()["fc8.weight"].clone()
    exact = [(images[:8].double(), labels[:8]) for images, labels in batches[:4]]
    for steps in (0, 4):
        trained(net, exact, steps)
        trained(twin, exact, steps)
        x = y = exact[0][0]
        for (name, module), other in zip(net.named_children(), twin.children(), strict=True):
            x, y = module(x), other(y)
            if name in rotations:
                torch.testing.assert_close(y, torch.einsum("ij,bj...->bi...", rotations[name], x), rtol=0, atol=1e-9)
        torch.testing.assert_close(y, x, rtol=0, atol=1e-9)
    assert not torch.equal(net.state_dict()["fc8.weight"], before)


def test_no_unit_has_an_excess_though_the_networks_converge(batches: list[tuple[Tensor, Tensor]]) -> None:
    nets = {}
    for seed in range(6):
        torch.manual_seed(seed)
        nets[f"net{seed + 1}"] = net = network()[0]
        trained(net, batches[seed:] + batches[:seed], 60)
    layers = ["conv1", "conv2", "fc7"]
    found = raycv.compare(nets, [images for images, _ in batches[:8]], layers=layers, positions="mean")
    table = found.alignment()
    assert "prerelu_excess" not in table  # the gate is no function of single units
    for _, rows in table.groupby("layer"):
        excess = contrast({(str(row["net_a"]), str(row["net_b"])): row["excess"] for _, row in rows.iterrows()})
        error = (excess.interval.high - excess.interval.low) / 2 / 2.571  # Student's t, 5 degrees of freedom
        assert abs(excess.value) < 3 * error + 0.005
        assert rows["mean"].mean() > 0.4
