"""Training against a plain loop and against the machine's rate of matrix products: `python -m benchmarks.training`.

Small AlexNets on the shipped images, and steps of the paper's AlexNet on noise. One process: processor time. Several
processes at once and `raycv train`: wall time, for which the machine must be idle.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.v2 import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToDtype

from benchmarks.machine import best, in_words, together
from raycv.cli import main as raycv
from raycv.config import TrainConfig
from raycv.data.readers import EMBEDDED
from raycv.data.sources import open_source
from raycv.networks.evaluation import in_batches
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.run import record
from raycv.run.store import RunStore
from raycv.stages.train.learning import autocast, epoch_order, make_optimizer, set_dropout, train_epoch
from raycv.stages.train.recipe import recipe_of
from raycv.stages.train.specs import specs_of

IMAGES = 2048
EPOCHS = 4  # of `raycv train`


def spec() -> NetworkSpec:
    """A network of the default run."""
    return specs_of(TrainConfig(), 10)[0]


def decoded() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    return open_source(EMBEDDED, "train").decode(np.arange(IMAGES), spec().preprocessing.resizing)


def raycvs() -> Callable[[], object]:
    """An epoch as a training worker does it."""
    torch.set_num_threads(1)
    described = spec()
    net, recipe, (images, labels) = build(described), recipe_of(described.model, TrainConfig()), decoded()
    set_dropout(net, recipe.dropout)
    optimizer = make_optimizer(net, recipe)

    def work() -> None:
        order = epoch_order(IMAGES, seed=1, epoch=0).numpy()
        batches = in_batches(images[order], labels[order], recipe.batch_size)
        steps = IMAGES // recipe.batch_size
        where: dict[str, Any] = {"epoch": 0, "steps": steps, "seed": 1, "device": torch.device("cpu")}
        train_epoch(net, batches, optimizer, recipe, described.preprocessing, **where)

    return work


def plain() -> Callable[[], object]:
    """The same network, batches and recipe in the loop that one would write, augmented image by image."""
    described = spec()
    net, recipe, (images, labels) = build(described).train(), recipe_of(described.model, TrainConfig()), decoded()
    modules = nn.Sequential(*net.children())  # as they are written, each ReLU where it stands
    optimizer = make_optimizer(net, recipe)
    scaled = [
        [value / 255 for value in values] for values in (described.preprocessing.mean, described.preprocessing.std)
    ]
    normalised = Normalize(*scaled)
    augment = Compose([RandomCrop(32, 4), RandomHorizontalFlip(), ToDtype(torch.float32, scale=True), normalised])
    data = TensorDataset(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels))

    def collated(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return torch.stack([augment(image) for image, _ in items]), torch.stack([label for _, label in items])

    loader = DataLoader(data, recipe.batch_size, shuffle=True, collate_fn=collated)

    def work() -> None:
        for inputs, wanted in loader:
            loss = F.cross_entropy(modules(inputs), wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()

    return work


def operations(described: NetworkSpec) -> float:
    """Floating-point operations of one training step, per image."""
    work = step(described, 8)
    with FlopCounterMode(display=False) as counted:
        work()
    return float(counted.get_total_flops()) / 8


def step(described: NetworkSpec, images: int) -> Callable[[], object]:
    """One step on noise, forward and backward."""
    net, crop = build(described).train(), described.preprocessing.crop
    inputs, labels = torch.randn(images, 3, crop, crop), torch.zeros(images, dtype=torch.int64)

    def work() -> None:
        net.zero_grad()
        with autocast(inputs.device):
            logits = net(inputs)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]

    return work


def product_rate(number: torch.dtype) -> float:
    """Operations a second of one thread's large product."""
    a = torch.randn(2048, 2048).to(number)
    return 2 * 2048**3 / best(lambda: a @ a)


def whole() -> dict[str, float]:
    """`raycv train` of four networks: images a second while it trains, and seconds of each part."""
    with tempfile.TemporaryDirectory() as folder:
        raycv(["train", "--run", folder, "--epochs", str(EPOCHS)])
        facts = record.read(RunStore(folder))["stages"]["train"]
    return {"images/s": round(facts["images"] / facts["seconds"]["training"]), **facts["seconds"]}


def measure() -> dict[str, Any]:
    """All tables."""
    torch.set_num_threads(1)
    rates = {"float32": product_rate(torch.float32), "bfloat16": product_rate(torch.bfloat16)}

    def of_rates(images: float, each: float) -> dict[str, float]:
        return {f"of the {number} product's rate": round(images * each / rate, 2) for number, rate in rates.items()}

    found: dict[str, Any] = {"machine": in_words()}
    found["GF/s of a product"] = {number: round(rate / 1e9) for number, rate in rates.items()}
    for name, way in (("plain loop", plain), ("raycv", raycvs)):
        images = IMAGES / best(way())
        found[name] = {"images/s": round(images), **of_rates(images, operations(spec()))}
    paper = specs_of(TrainConfig(model=("alexnet",)), 1000)[0]
    images = 16 / best(step(paper, 16))
    found["the paper's AlexNet"] = {"images/s": round(images, 1), **of_rates(images, operations(paper))}
    found["processes: images/s"] = {count: round(together(raycvs, IMAGES, count)) for count in (1, 2, 4)}
    return found | {"raycv train": whole()}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
