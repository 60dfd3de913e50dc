"""What one GPU does, at the paper's size, against its ceilings and plain PyTorch: `python -m benchmarks.gpu IMAGES`.

IMAGES is a folder that `raycv prepare --size 256` has written. Medians of wall times, each after a round that is not
counted. The GPU and the machine must be idle.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import in_words, together
from benchmarks.training import operations
from raycv.analysis.information import BINS, pairwise_information
from raycv.analysis.mapping import lasso_path
from raycv.analysis.nulls import rotated
from raycv.analysis.sgd import Schedule, sgd_path
from raycv.config import MappingSweepConfig, TrainConfig
from raycv.data.decoder import Decoder
from raycv.data.sources import open_source
from raycv.devices import settle
from raycv.networks.deconvnet import Deconvnet
from raycv.networks.evaluation import Batch
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import NETS, NULL
from raycv.stages.collect.collector import Collector, Precision
from raycv.stages.collect.groups import BATCH, untrained_specs
from raycv.stages.train.feed import Feed
from raycv.stages.train.learning import make_optimizer, train_epoch
from raycv.stages.train.recipe import recipe_of
from raycv.stages.train.specs import specs_of
from raycv.statistics.accumulator import ROWS_PER_PRODUCT, Accumulator

GPU = torch.device("cuda")
STEPS = 40
EXTENT = 8192  # of a large product
SAMPLES = 60_000
DECAYS = tuple(MappingSweepConfig().decays)


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """The median wall time of some rounds after one that is not counted, or of one; until the GPU has ended."""
    spent = []
    for _ in range(rounds + 1):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:] or spent)


def rounded(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")


def ceilings() -> dict[str, float]:
    """TFLOP/s of large products, and GB/s of copies."""
    found = {}
    for name, number in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        a = torch.randn(EXTENT, EXTENT, device=GPU).to(number)
        found[f"{name} TFLOP/s"] = rounded(2 * EXTENT**3 / seconds(lambda a=a: a @ a) / 1e12)  # type: ignore[misc]
    there, pinned = torch.empty(2**28, device=GPU), torch.empty(2**28, dtype=torch.uint8, pin_memory=True)
    copy, bytes_there = torch.empty_like(there), torch.empty(2**28, dtype=torch.uint8, device=GPU)
    found["memory GB/s"] = rounded(2 * there.nbytes / seconds(lambda: copy.copy_(there)) / 1e9)
    found["from the host GB/s"] = rounded(pinned.nbytes / seconds(lambda: bytes_there.copy_(pinned)) / 1e9)
    return found


def spec() -> NetworkSpec:
    """The paper's AlexNet."""
    return specs_of(TrainConfig(model=("alexnet",)), 1000)[0]


def plain(*, careful: bool) -> float:
    """Images a second of a plain loop on one batch that is on the GPU; ``careful``: bfloat16 and channels last."""
    described = spec()
    recipe, crop = recipe_of(described.model, TrainConfig()), described.preprocessing.crop
    net = build(described).to(GPU).train()
    net.norm1, net.norm2 = nn.LocalResponseNorm(5), nn.LocalResponseNorm(5)
    modules = nn.Sequential(*net.children())
    layout = torch.channels_last if careful else torch.contiguous_format
    modules = modules.to(memory_format=layout)
    optimizer = torch.optim.SGD(modules.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    inputs = torch.randn(recipe.batch_size, 3, crop, crop, device=GPU).to(memory_format=layout)
    labels = torch.zeros(recipe.batch_size, dtype=torch.int64, device=GPU)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=careful):
            logits = modules(inputs)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def steps() -> None:
        for _ in range(STEPS):
            step()

    return recipe.batch_size * STEPS / seconds(steps, 2)


class Trained:
    """The paper's AlexNet as a training worker trains it.

    At the paper's learning rate the few images of a benchmark, again and again, can make it diverge.
    """

    def __init__(self) -> None:
        torch.backends.cudnn.deterministic = True
        self.spec = spec()
        self.recipe = recipe_of(self.spec.model, TrainConfig(learning_rate=1e-4))
        self.net = build(self.spec).to(GPU).to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(self.net, self.recipe, fused=True)

    def on(self, batches: Iterator[Batch]) -> float:
        """Train on the batches; the mean loss."""
        given: dict[str, Any] = {"epoch": 0, "steps": STEPS, "seed": 1, "device": GPU}
        return train_epoch(self.net, batches, self.optimizer, self.recipe, self.spec.preprocessing, **given)

    def rate(self, batches: Callable[[], Iterator[Batch]], rounds: int = 2) -> float:
        """Images a second."""
        return self.recipe.batch_size * STEPS / seconds(lambda: self.on(batches()), rounds)


def training(folder: str) -> dict[str, float]:
    """Images a second of one network: without feeding, and fed from memory and from prepared images."""
    found = {"plain loop, float32": plain(careful=False), "plain loop, bfloat16, channels last": plain(careful=True)}
    source, described = open_source(folder, "train"), spec()
    images, labels = source.decode(np.arange(len(source)), described.preprocessing.resizing)
    feed = Feed.__new__(Feed)  # without a job
    feed.batch, feed.spec, feed.device = recipe_of(described.model, TrainConfig()).batch_size, described, GPU
    order = np.random.default_rng(0).integers(0, len(source), feed.batch * STEPS)
    one = [part.to(GPU) for part in feed._batch(images, labels, order[: feed.batch])]
    decoder = Decoder(source, os.cpu_count() or 1)

    def there() -> Iterator[Batch]:
        return islice(repeat((one[0], one[1])), STEPS)

    def from_memory() -> Iterator[Batch]:
        parts = (order[n : n + feed.batch] for n in range(0, len(order), feed.batch))
        return feed._prefetched(feed._batch(images, labels, part) for part in parts)

    def streamed() -> Iterator[Batch]:
        return feed._prefetched(feed._streamed(decoder, order, exact=False))

    def decoded() -> None:
        for part in decoder.begin(order, described.preprocessing.resizing):
            part.result()

    network = Trained()
    found["raycv"] = network.rate(there)
    found["raycv, from memory"] = network.rate(from_memory)
    found["decoding alone"] = len(order) / seconds(decoded, 1)
    found["raycv, from prepared images"] = network.rate(streamed)
    return {what: rounded(value) for what, value in found.items()}


def trained() -> Callable[[], object]:
    """Some steps of a network, on a batch that is on the GPU."""
    network = Trained()
    size, extent = network.recipe.batch_size, network.spec.preprocessing.resize
    images = torch.zeros(size, extent, extent, 3, dtype=torch.uint8, device=GPU)
    one = images, torch.zeros(size, dtype=torch.int64, device=GPU)
    return lambda: network.on(islice(repeat(one), STEPS))


def the_pass() -> dict[str, float]:
    """Images a second of four networks and the four untrained ones, forward alone and the whole pass."""
    settle(GPU)
    specs = tuple(specs_of(TrainConfig(model=("alexnet",)), 1000))
    groups = {NETS: specs, NULL: untrained_specs(specs)}
    nets: dict[str, Any] = {one.name: build(one) for group in groups.values() for one in group}
    preprocessing, count = specs[0].preprocessing, 512
    images = np.random.default_rng(0).integers(0, 256, (count, 256, 256, 3), dtype=np.uint8)
    numbers, given = np.arange(count), {preprocessing.resizing: images}
    found = {}
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        collector, number = Collector(groups, nets, GPU, precision), getattr(torch, precision)
        pilot = collector.pilot({preprocessing.resizing: images[:BATCH]}, numbers[:BATCH])

        @torch.inference_mode()
        def loop(number: torch.dtype = number) -> None:
            for start in range(0, count, BATCH):
                batch = preprocessing.evaluation(torch.from_numpy(images[start : start + BATCH]).to(GPU))
                with torch.autocast("cuda", number, enabled=number is not torch.float32):
                    for net in nets.values():
                        net(batch)

        def whole(collector: Collector = collector, pilot: Any = pilot) -> None:
            collector.partial(given, numbers, pilot, 50_000)

        found[f"{precision}, forward alone"] = rounded(count / seconds(loop, 2))
        found[f"{precision}, the pass"] = rounded(count / seconds(whole, 2))
    return found


def moments(units: int) -> dict[str, float]:
    """TFLOP/s of moments, counted as full products, and the largest error of a correlation; also of split TF32."""
    samples = 2**16 if units < 4096 else 2**14
    parts = [torch.randn(samples, units // 4, device=GPU).relu() for _ in range(4)]
    stacked = torch.cat(parts, 1)
    exact = stacked.double().T @ stacked.double()
    scale = exact.diagonal().sqrt().outer(exact.diagonal().sqrt())

    def accumulated() -> Accumulator:
        sums = Accumulator([units // 4] * 4, np.zeros(units, np.float32), GPU)
        sums.add(parts)
        return sums

    gram = torch.cat([F.pad(strip, (units - strip.shape[1], 0)) for strip in accumulated().gram])
    error = ((gram - exact) / scale).triu().abs().max()
    split = ((_split_product(stacked) - exact) / scale).abs().max()
    operations = 2 * samples * units**2 / 1e12
    found = {
        "product": operations / seconds(lambda: stacked.T @ stacked),
        "moments": operations / seconds(accumulated),
        "error": float(error),
        "three TF32 products": operations / seconds(lambda: _split_product(stacked)),
        "their error": float(split),
    }
    return {what: rounded(value) for what, value in found.items()}


def _split_product(x: Tensor) -> Tensor:
    """XᵀX by tensor cores: each value as the sum of two of eleven bits, three products of these, added in float64."""
    high = (x.view(torch.int32) & -(2**13)).view(torch.float32)
    high, low = (part.view(-1, ROWS_PER_PRODUCT, x.shape[1]) for part in (high, x - high))
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    torch.backends.cuda.matmul.allow_tf32 = True
    for h, w in zip(torch.split(high, 8), torch.split(low, 8), strict=True):
        for a, b in ((h, h), (h, w), (w, h)):
            total += torch.bmm(a.transpose(1, 2), b).sum(0, dtype=torch.float64)
    torch.backends.cuda.matmul.allow_tf32 = False
    return total


def correlated(units: int, samples: int = 20_000) -> list[np.ndarray]:
    """Correlations of two made-up networks whose rectified units share causes: of a, of a with b, of b."""
    generator = torch.Generator(GPU).manual_seed(0)
    causes = torch.randn(samples, units // 2, device=GPU, generator=generator)
    scores = []
    for _ in range(2):
        weights = torch.randn(units // 2, units, device=GPU, generator=generator)
        weights *= torch.rand(weights.shape, device=GPU, generator=generator) < 8 / units
        noise = torch.randn(samples, units, device=GPU, generator=generator)
        values = (causes @ weights + 0.5 * noise).relu().double()
        scores.append((values - values.mean(0)) / values.std(0, unbiased=False))
    a, b = scores
    return [(x.T @ y / samples).cpu().numpy() for x, y in ((a, a), (a, b), (b, b))]


def wide(units: int) -> dict[str, float]:
    """Seconds of what `collect` and the sweeps do for one pair of networks in a layer."""
    a, b = (torch.randint(0, BINS, (units, SAMPLES), dtype=torch.uint8, device=GPU) for _ in range(2))
    source, cross, target = correlated(units)
    short, longer = (
        seconds(lambda n=n: sgd_path(source, cross, DECAYS, device="cuda", schedule=Schedule(iterations=n)), 0)  # type: ignore[misc]
        for n in (10, 110)
    )
    found = {
        "mutual information of 60,000 samples": seconds(lambda: pairwise_information(a, b, BINS), 0),
        f"LASSO path of {len(DECAYS)} decays": seconds(lambda: lasso_path(source, cross, DECAYS, device="cuda"), 0),
        "the paper's training, 4,500 iterations": short + (longer - short) * (4500 - 10) / 100,
        "rotated null": seconds(lambda: rotated(cross, target, device="cuda"), 0),
    }
    return {what: rounded(value) for what, value in found.items()}


def pictures() -> dict[str, float]:
    """Deconvnet pictures a second."""
    described, found = spec(), {}
    draw = Deconvnet(build(described).to(GPU), described.output)
    images = torch.randn(128, 3, 227, 227, device=GPU)
    for layer, units, extent in (("conv1", 96, 55), ("conv5", 256, 13), ("fc7", 4096, 1)):
        which = [torch.randint(0, high, (128,), device=GPU) for high in (units, extent, extent)]
        found[layer] = rounded(128 / seconds(lambda a=layer, w=which: draw(described.place(a), images, *w)))  # type: ignore[misc]
    return found


def main() -> None:
    """Print each table as it is measured."""
    folder, images = sys.argv[1], STEPS * recipe_of("alexnet", TrainConfig()).batch_size
    print(f"Machine: {in_words()}", flush=True)
    tables: dict[str, Callable[[], Any]] = {
        "ceilings": ceilings,
        "GFLOP of a training step, per image": lambda: rounded(operations(spec()) / 1e9),
        "training, images/s": lambda: training(folder),
        "four networks at once, images/s": lambda: rounded(together(trained, images, 4)),
        "pass, images/s": the_pass,
        "moments, TFLOP/s": lambda: {units: moments(units) for units in (384, 1024, 4096)},
        "a pair of networks, seconds": lambda: {units: wide(units) for units in (256, 1024, 4096)},
        "pictures/s": pictures,
    }
    for name, table in tables.items():
        print(json.dumps({name: table()}), flush=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
