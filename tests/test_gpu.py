"""What runs on a GPU gives what a CPU gives. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from raycv.analysis.information import bin_edges, encode, pairwise_information
from raycv.analysis.mapping import lasso_path
from raycv.analysis.nulls import rotated
from raycv.analysis.sgd import Schedule, sgd_path
from raycv.config import TrainConfig
from raycv.devices import settle
from raycv.networks.deconvnet import Deconvnet
from raycv.networks.models import build
from raycv.run.paths import NETS, NULL
from raycv.stages.collect.collector import Collector, Partial, build_untrained
from raycv.stages.collect.groups import untrained_specs
from raycv.stages.train.feed import Feed
from raycv.stages.train.learning import make_optimizer, set_dropout, train_epoch
from raycv.stages.train.recipe import recipe_of
from raycv.statistics.accumulator import Accumulator
from tests.support.activations import correlations, nets
from tests.support.runs import spec

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
DECAYS = [0.0, 1e-4, 1e-3, 1e-2]


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    settle(GPU)
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = before


def pixels(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_float32_convolutions_are_in_float32() -> None:
    """In TF32, PyTorch's default, the error is above 1e-3."""
    generator = torch.Generator().manual_seed(0)
    images, filters = torch.randn(8, 64, 27, 27, generator=generator), torch.randn(128, 64, 5, 5, generator=generator)
    exact = torch.nn.functional.conv2d(images.double(), filters.double())
    found = torch.nn.functional.conv2d(images.to(GPU), filters.to(GPU)).cpu()
    assert float((found - exact).abs().max() / exact.std()) < 1e-4


@pytest.mark.parametrize("widths", [[5, 7, 6], [96, 128, 96], [700, 600]])
def test_moments_are_those_of_float64(widths: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [3 + torch.randn(5000, width, generator=generator).relu() for width in widths]
    pilot = np.full(sum(widths), 3.4, np.float32)
    there = Accumulator(widths, pilot, GPU)
    for part in zip(*(torch.split(value, 1700) for value in values), strict=True):
        there.add([value.to(GPU) for value in part])
    found, y = there.moments(), torch.cat(values, 1).double() - torch.from_numpy(pilot)
    products, first = y.T @ y, 0
    scale = products.diagonal().sqrt().outer(products.diagonal().sqrt())
    for width, strip in zip(widths, found.strips(), strict=True):
        rows = slice(first, first + width)
        error = (torch.from_numpy(strip) - products[rows, first:]).abs() / scale[rows, first:]
        assert float(error.max()) < 5e-6
        first += width
    np.testing.assert_allclose(found.total, y.sum(0), rtol=1e-6, atol=1e-3)
    np.testing.assert_array_equal(found.active, 5000)


def test_information_is_the_same() -> None:
    rng = np.random.default_rng(0)
    samples = np.maximum(rng.standard_normal((6000, 300)) + rng.standard_normal((6000, 1)), 0).astype(np.float32)
    codes = encode(samples, bin_edges(samples))
    there = torch.from_numpy(codes).to(GPU)
    for other, and_there in ((codes[:40], there[:40]), (codes, there)):
        for found, expected in zip(
            pairwise_information(there, and_there, 21), pairwise_information(codes, other, 21), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_mapping_layers_and_nulls_are_the_same() -> None:
    x, y = nets(0, sources=60, targets=50, samples=2000)
    source, cross = correlations(x, y)
    for here, there in zip(
        lasso_path(source, cross, DECAYS), lasso_path(source, cross, DECAYS, device=GPU), strict=True
    ):
        np.testing.assert_allclose(there.weights, here.weights, atol=1e-5)
        assert there.loss == pytest.approx(here.loss, abs=1e-7)
    short = Schedule(iterations=50)
    paths = (sgd_path(source, cross, DECAYS, schedule=short, device=device) for device in (CPU, GPU))
    for here, there in zip(*paths, strict=True):
        np.testing.assert_allclose(there.weights, here.weights, atol=1e-5)
    nulls = [rotated(cross, np.corrcoef(y, rowvar=False), seed=1, device=device).values for device in (CPU, GPU)]
    np.testing.assert_allclose(nulls[1], nulls[0], atol=1e-5)


def test_pictures_of_what_drives_a_unit_are_the_same() -> None:
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    which = [torch.tensor(values) for values in ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0])]
    drawn = []
    for device in (CPU, GPU):
        draw = Deconvnet(build(spec(1, 12)).to(device), "fc8")
        drawn.append(draw("conv3", images.to(device), *(one.to(device) for one in which)).cpu())
    torch.testing.assert_close(drawn[1], drawn[0], rtol=1e-3, atol=1e-5 * float(drawn[0].abs().max()))


def partial(device: torch.device) -> Partial:
    specs = (spec(1, 12), spec(2, 12))
    groups = {NETS: specs, NULL: untrained_specs(specs)}
    all_nets: dict[str, Any] = {one.name: build(one).eval() for one in specs} | build_untrained(groups[NULL])
    collector = Collector(groups, all_nets, device)
    images, numbers = {specs[0].preprocessing.resizing: pixels(100)}, np.arange(100)
    return collector.partial(images, numbers, collector.pilot(images, numbers), 100)


def test_a_shard_is_the_same() -> None:
    here, there = partial(CPU), partial(GPU)
    for kind, samples in here.samples.items():
        np.testing.assert_array_equal(there.samples[kind].rank, samples.rank)
        assert samples.rank.size
        for of_net, and_of_net in zip(samples.values, there.samples[kind].values, strict=True):
            np.testing.assert_allclose(and_of_net, of_net, rtol=1e-3, atol=1e-4 * np.abs(of_net).max())
    for key, moments in here.moments.items():
        for strip, and_strip in zip(moments.strips(), there.moments[key].strips(), strict=True):
            np.testing.assert_allclose(and_strip, strip, rtol=1e-3, atol=1e-4 * np.abs(strip).max())
    for key, rows in here.rows.items():
        for of_net, and_of_net in zip(rows, there.rows[key], strict=True):
            np.testing.assert_allclose(and_of_net, of_net, rtol=1e-3, atol=1e-4 * np.abs(of_net).max())
    for key, patches in here.patches.items():
        for best, and_best in zip(patches, there.patches[key], strict=True):
            np.testing.assert_allclose(and_best.value, best.value, rtol=1e-3, atol=1e-4)
            assert np.mean(and_best.image != best.image) < 0.01  # equal to rounding


def feed(device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    of = Feed.__new__(Feed)
    of.batch, of.device = 64, device
    return of._prefetched(of._batches(pixels(512), np.arange(512) % 10, np.random.default_rng(0)))


def losses(device: torch.device) -> list[float]:
    """Of three epochs."""
    described = spec(1, 12)
    recipe = replace(recipe_of(described.model, TrainConfig()), epochs=3, dropout=0.0)
    net = build(described).to(device).to(memory_format=torch.channels_last)
    set_dropout(net, 0.0)
    optimizer = make_optimizer(net, recipe, fused=device.type == "cuda")
    return [
        train_epoch(
            net,
            feed(device),
            optimizer,
            recipe,
            described.preprocessing,
            epoch=epoch,
            steps=8,
            seed=1,
            device=device,
        )
        for epoch in range(3)
    ]


def test_training_is_the_same_to_the_last_bit_and_near_that_on_a_cpu() -> None:
    there = losses(GPU)
    assert there == losses(GPU)
    assert there == pytest.approx(losses(CPU), rel=2e-2)


def test_batches_copied_ahead_are_the_same_while_others_are_used() -> None:
    work = torch.randn(4096, 4096, device=GPU)
    for (images, labels), (others, and_labels) in zip(feed(GPU), feed(CPU), strict=True):
        work = (work @ work).tanh()  # keeps the GPU busy while the next batch is copied
        kept = images.clone()
        assert torch.equal(kept.cpu(), others)
        assert torch.equal(labels.cpu(), and_labels)


def test_replicas_exchange_their_gradients_by_nccl(tmp_path: Path) -> None:
    """One replica: what can be had of it on one GPU."""
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/ranks", rank=0, world_size=1)
    try:
        net = build(spec(1, 12)).to(GPU)
        replica = torch.nn.parallel.DistributedDataParallel(net)
        replica(torch.randn(4, 3, 32, 32, device=GPU)).square().sum().backward()
        sums = torch.ones(3, dtype=torch.float64, device=GPU)
        dist.all_reduce(sums)
        assert sums.tolist() == [1, 1, 1]
        assert all(bool(parameter.grad.abs().sum() > 0) for parameter in net.parameters() if parameter.grad is not None)
    finally:
        dist.destroy_process_group()
