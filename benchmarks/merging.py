"""Two networks made one: a VGG without and a ResNet with batch normalisation, both small.

``python -m benchmarks.merging`` trains two of each on the shipped images, merges them at equal shares in this process,
by the functions that `raycv merge` uses, and prints a Markdown table. Jordan et al. (2022), REPAIR, have it for large
ones. ``--images`` and ``--epochs`` say how long they are trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import raycv
from benchmarks import machine
from raycv.analysis.group_matching import match_groups, similarity_evidence
from raycv.analysis.merging import interpolated
from raycv.data.preprocessing import Preprocessing
from raycv.data.sources import open_source
from raycv.networks import repair
from raycv.networks.evaluation import score
from raycv.networks.unit_graph.tracing import unit_groups

PREPARED = Preprocessing(resize=32, crop=32, pad=4, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
BATCH, SHARES = 64, (0.5, 0.5)
METHODS = ("naive", "permuted", "repaired in closed form", "repaired by a pass")


class Vgg(nn.Sequential):
    """Six convolutions of 3 x 3 and three poolings, then two linear maps; no normalisation."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        before = 3
        for width in (24, "pool", 48, "pool", 64, 64, "pool", 96, 96):
            if isinstance(width, int):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            else:
                layers.append(nn.MaxPool2d(2))
        super().__init__(
            nn.Sequential(*layers), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * before, 128), nn.ReLU(),
            nn.Linear(128, 10),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


class Block(nn.Module):
    """What a residual network adds to its stream: two convolutions with batch normalisation."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        stride = 1 if before == width else 2
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.inner, self.outer = nn.ReLU(), nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride == 2:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) from (B, before, H, W), or half as large where the width changes."""
        added = self.bn2(self.conv2(self.inner(self.bn1(self.conv1(x)))))
        out: Tensor = self.outer(added + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """A residual network of one block of 16, 32 and 64 units each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        self.block1, self.block2, self.block3 = Block(16, 16), Block(16, 32), Block(32, 64)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 3, 32, 32)."""
        x = self.block3(self.block2(self.block1(self.relu(self.bn(self.conv(x))))))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


KINDS: dict[str, tuple[Callable[[], nn.Module], float]] = {"VGG": (Vgg, 0.02), "ResNet": (ResNet, 0.1)}  # and its rate


def images(split: str, count: int) -> tuple[Tensor, Tensor]:
    """Images (N, 32, 32, 3) uint8 and labels (N,), the first ones of a fixed random order."""
    source = open_source("cifar10-subset", split)  # type: ignore[arg-type]
    chosen = np.random.default_rng(0).permutation(len(source))[:count]
    pixels, labels = source.decode(chosen, PREPARED.resizing)
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def trained(
    make: Callable[[], nn.Module], rate: float, seed: int, epochs: int, data: tuple[Tensor, Tensor]
) -> nn.Module:
    """One network, by SGD with momentum and one cycle of the learning rate."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = make().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    pixels, labels = data
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(epochs):
        order = torch.randperm(len(labels), generator=generator)
        for chosen in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
            optimizer.zero_grad()
            F.cross_entropy(net(PREPARED.training(pixels[chosen], generator)), labels[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


def merged(nets: list[nn.Module], inputs: list[Tensor]) -> list[dict[str, np.ndarray]]:
    """The weights that come out at equal shares, one for each of `METHODS`; units are matched by correlation."""
    weights = [{name: value.numpy().copy() for name, value in net.state_dict().items()} for net in nets]
    groups = unit_groups(nets[0], inputs[0][:2])
    layers = [name for name, module in nets[0].named_modules() if isinstance(module, nn.ReLU)]
    compared = raycv.compare({"a": nets[0], "b": nets[1]}, inputs, layers=layers)
    evidence = [
        one for layer in layers for one in similarity_evidence(groups, layer, compared.correlation(layer, "a", "b"))
    ]
    aligned = [weights[0], groups.permuted(weights[1], match_groups(groups, evidence))]
    repair.load(nets[1], aligned[1])
    sites = repair.moments(nets, repair.sites_of(nets[0], inputs[0][:2]), inputs)
    permuted = interpolated(aligned, SHARES)
    wanted = {name: site.wanted(SHARES) for name, site in sites.items()}
    return [
        interpolated(weights, SHARES),
        permuted,
        repair.in_closed_form(nets[0], permuted, sites, SHARES),
        repair.by_a_pass(nets[0], permuted, wanted, inputs),
    ]


@torch.inference_mode()
def top1(net: nn.Module, inputs: list[Tensor], labels: Tensor) -> float:
    """The fraction of images classified right."""
    logits = torch.cat([net(some) for some in inputs])
    _, correct, count = score(logits, labels).sum(1)
    return float(correct / count)


def main() -> None:
    """Train, merge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000, help="training images (default 8000)")
    parser.add_argument("--epochs", type=int, default=12, help="passes over them (default 12)")
    asked = parser.parse_args()
    data, (pixels, labels) = images("train", asked.images), images("validation", 2000)
    inputs = [PREPARED.evaluation(some) for some in torch.tensor_split(pixels, 8)]
    print(f"{machine.in_words()}\n\n| | alone | {' | '.join(METHODS)} |\n|{'---|' * (len(METHODS) + 2)}")
    for name, (make, rate) in KINDS.items():
        nets = [trained(make, rate, seed, asked.epochs, data) for seed in (1, 2)]
        found = [", ".join(f"{top1(net, inputs, labels):.1%}" for net in nets)]
        for weights in merged(nets, inputs):
            repair.load(nets[0], weights)
            found.append(f"{top1(nets[0], inputs, labels):.1%}")
        print(f"| {name} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
