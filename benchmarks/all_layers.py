"""All layers of two networks against each other, over what a user would do instead: `python -m benchmarks.all_layers`.

Printed are ratios of processor time of one thread, both sides in one process. The peer of tables is a loop over pairs
of layers in PyTorch that keeps the pooled features: products, or n x n Grams. ``--only`` names some rows; ``memory``
alone prints the peak of the process above what it had with both networks built.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

import raycv
from benchmarks.machine import best, in_words
from benchmarks.recorded import watched
from raycv.networks.module_paths import modules_of

Features = list[Tensor]  # by layer (n, S)


def row(work: str, ours: float, other: str, theirs: float) -> None:
    """One line of the table."""
    print(f"| {work} | {ours:.2f} | {other} | {theirs:.2f} | {ours / theirs:.2f} |", flush=True)


def images(count: int, size: int, batch: int) -> list[Tensor]:
    """Batches of noise."""
    values = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return [values[start : start + batch] for start in range(0, count, batch)]


def network(name: str, **settings: Any) -> nn.Module:
    """Untrained, from a fixed seed."""
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.get_model(name, **settings)
    return net.eval()


def extracted(net: nn.Module, layers: list[str], data: list[Tensor]) -> Features:
    """A plain feature extractor: means over positions, layer by layer."""
    kept: dict[str, Features] = {layer: [] for layer in layers}

    def keep(layer: str) -> Callable[..., None]:
        return lambda _module, _args, out: kept[layer].append(out.flatten(2).mean(2))

    hooks = [net.get_submodule(layer).register_forward_hook(keep(layer)) for layer in layers]
    with torch.no_grad():
        for batch in data:
            net(batch)
    for hook in hooks:
        hook.remove()
    return [torch.cat(kept[layer]) for layer in layers]


def by_grams(a: Features, b: Features) -> list[float]:
    """Linear CKA of all pairs, from an n x n Gram of every layer."""
    grams = [[x @ x.T for x in (layer - layer.mean(0) for layer in side)] for side in (a, b)]
    norms = [[gram.norm() for gram in side] for side in grams]
    return [
        float((x * y).sum() / (nx * ny))
        for x, nx in zip(grams[0], norms[0], strict=True)
        for y, ny in zip(grams[1], norms[1], strict=True)
    ]


def by_products(a: Features, b: Features) -> list[float]:
    """Linear CKA of all pairs, from a product of every pair."""
    sides = [[layer - layer.mean(0) for layer in side] for side in (a, b)]
    norms = [[(x.T @ x).norm() for x in side] for side in sides]
    return [
        float((x.T @ y).square().sum() / (nx * ny))
        for x, nx in zip(sides[0], norms[0], strict=True)
        for y, ny in zip(sides[1], norms[1], strict=True)
    ]


def passes() -> None:
    """All residual blocks of two ResNets: the comparison with its CKA over the forward passes alone."""
    nets = {"resnet18": network("resnet18"), "resnet34": network("resnet34")}
    data = images(128, 112, 32)
    blocks = {
        name: [path for path in modules_of(net) if re.fullmatch(r"layer\d\.\d", path)] for name, net in nets.items()
    }

    def alone() -> None:
        with torch.no_grad():
            for net in nets.values():
                for batch in data:
                    net(batch)

    def ours() -> None:
        found = raycv.compare(nets, data, layers=blocks, compare="all", positions="mean")
        found.alignment(["unbiased_cka", "linear_cka"])

    def theirs(table: Callable[[Features, Features], object]) -> Callable[[], object]:
        return lambda: table(*(extracted(net, blocks[name], data) for name, net in nets.items()))

    forward = best(alone)
    row("compare and CKA of all blocks, resnet18 x resnet34", best(ours), "the forward passes alone", forward)
    row("a feature extractor with n x n Grams", best(theirs(by_grams)), "the forward passes alone", forward)
    row("a feature extractor with products", best(theirs(by_products)), "the forward passes alone", forward)


def recordings(layers: int, units: int, samples: int, noise: float = 1.0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two networks of rectified layers, each of which shares some of its units with the other's."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((samples, units))

    def layer() -> Any:
        own = rng.standard_normal((samples, units))
        shared = rng.random(units) < 0.25
        return np.maximum(np.where(shared, common + noise * own, own), 0).astype(np.float32)

    return tuple({f"layer{n}": layer() for n in range(layers)} for _ in range(2))  # type: ignore[return-value]


def rows() -> None:
    """A table of 3,200 rows."""
    a, b = recordings(40, 64, 1000)
    found = raycv.compare({"a": a, "b": b}, compare="all")
    features = [[torch.from_numpy(x) for x in side.values()] for side in (a, b)]
    ours = best(lambda: found.alignment(["linear_cka"]), 2)
    row("alignment(['linear_cka']), 3,200 rows", ours, "n x n Grams", best(lambda: by_grams(*features)))
    row("alignment(['linear_cka']), 3,200 rows", ours, "a loop of products", best(lambda: by_products(*features)))


def nulls(layers: int) -> None:
    """Default columns of one pair of wide layers and of a grid of narrow ones, over one product of the samples."""
    for count, units in ((1, 128), (1, 256), (1, 512), (layers, 64)):
        a, b = recordings(count, units, 2000)
        found = raycv.compare({"a": a, "b": b}, compare="all")
        began = time.process_time()
        found.alignment()
        ours = time.process_time() - began
        x, y = (torch.from_numpy(np.hstack([*side.values()])) for side in (a, b))
        product = best(lambda x=x, y=y: x.T @ y)  # type: ignore[misc]
        row(f"alignment(), {count} x {count} layers of {units} units", ours, "the product of the samples", product)


def memory() -> None:
    """All layers of a ResNet and a vision transformer."""
    nets = {"resnet18": network("resnet18"), "vit_b_16": network("vit_b_16")}
    before: dict[str, int] = {}
    with watched(before):
        time.sleep(0.3)
    during: dict[str, int] = {}
    began = time.process_time()
    with watched(during):
        found = raycv.compare(nets, images(256, 224, 16), compare="all", positions="mean")
        found.alignment(["linear_cka"])
    taken = time.process_time() - began
    layers, units = len(found.members), len(found.units())
    print(
        f"all layers of resnet18 x vit_b_16 ({layers} layers, {units:,} units), 256 images: peak "
        f"{(during['VmRSS'] - before['VmRSS']) / 1024:.2f} GiB above the networks, {taken:.0f} s of processors"
    )


def many() -> tuple[nn.Module, Any]:
    """A network of many modules, and how it wants images."""
    return Many(int(os.environ["MODULES"])).eval(), raycv.Preprocessing(
        resize=224, crop=224, mean=(124, 116, 104), std=(59, 57, 57)
    )


class Many(nn.Module):
    """A network of many modules that take no time."""

    def __init__(self, modules: int) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()) for _ in range(modules // 3))
        self.first = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.body:
            x = block(x)
        return x.mean((2, 3))


def naming(modules: int) -> None:
    """What names all layers of two networks of a run, over forward passes of two images."""
    from raycv.config import TrainConfig
    from raycv.networks import trust
    from raycv.settings import Given, load
    from raycv.stages.train.specs import specs_of

    given = {
        "networks": [{"name": name, "model": "benchmarks.all_layers:many"} for name in "ab"],
        "layers": ["*"],
        "compare": ["same"],
        "run": "nowhere",
    }
    net, data = Many(modules).eval(), torch.randn(2, 3, 224, 224)

    def forward() -> None:
        with torch.no_grad():
            net(data)

    os.environ["MODULES"] = str(modules)
    trust.allow(["benchmarks.all_layers:many"])
    settings = {name: Given(name, value) for name, value in given.items()}
    began = time.process_time()
    specs_of(load(TrainConfig, settings), 10)
    row(
        f"naming all layers, 2 networks of {modules:,} modules",
        time.process_time() - began,
        "a forward pass",
        best(forward),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=["passes", "rows", "nulls", "naming"])
    parser.add_argument("--grid", type=int, default=40)
    parser.add_argument("--modules", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{in_words()}\n")
    if "memory" in options.only:
        memory()
        return
    print("| work | seconds | beside | seconds | ratio |")
    print("|---|---|---|---|---|")
    if "passes" in options.only:
        passes()
    if "rows" in options.only:
        rows()
    if "nulls" in options.only:
        nulls(options.grid)
    if "naming" in options.only:
        naming(options.modules)


if __name__ == "__main__":
    main()
