"""Two networks made one by `raycv merge`: a VGG without and a ResNet with batch normalisation, small.

``python -m benchmarks.merging --folder F`` trains two of each on the shipped images, by raycv's own commands, merges
them at equal shares and prints a Markdown table. REPAIR (Jordan et al., 2022) has the same for large ones. What is
there already is not done again; with ``--only vgg`` or ``--only resnet`` one kind is done.
"""

from __future__ import annotations

import argparse

import pandas as pd
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import machine
from raycv.cli import main as raycv
from raycv.data.preprocessing import Preprocessing

PREPARED = Preprocessing(resize=32, crop=32, pad=4, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
METHODS = ("naive", "permuted", "repaired_closed", "repaired", "zipped_repaired")


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


def vgg() -> tuple[nn.Module, Preprocessing]:
    """A model for ``--model``."""
    return Vgg(), PREPARED


def resnet() -> tuple[nn.Module, Preprocessing]:
    """A model for ``--model``."""
    return ResNet(), PREPARED


LAYERS = {"vgg": "0.1,0.4,0.7,0.9,0.12,0.14,4", "resnet": "relu,block?.inner,block?.outer"}  # all after a ReLU
TRAINING = {"vgg": ("--learning-rate", "0.02"), "resnet": ("--learning-rate", "0.1", "--epochs", "8")}


def main() -> None:
    """Train, merge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="for the runs")
    parser.add_argument("--only", choices=sorted(LAYERS), help="one kind of network")
    asked = parser.parse_args()
    print(f"{machine.in_words()}\n\n| | {' | '.join(('alone', *METHODS))} |\n|{'---|' * (len(METHODS) + 2)}")
    for name in [asked.only] if asked.only else sorted(LAYERS):
        run = ["--run", f"{asked.folder}/{name}"]
        model = ["--model", f"benchmarks.merging:{name}", "--layers", LAYERS[name], "--seeds", "1,2"]
        done = raycv(["train", *run, *model, *TRAINING[name]])
        done = done or raycv(["collect", *run]) or raycv(["merge", *run, "--alphas", "0,0.5,1"])
        if done:
            raise SystemExit(done)
        rows = pd.read_parquet(f"{asked.folder}/{name}/tables/merges")
        top1 = rows[rows["alpha"] == 0.5].set_index("method")["top1"]
        alone = rows[(rows["method"] == "naive") & (rows["alpha"] != 0.5)]["top1"]
        shown = [f"{alone.min():.1%}, {alone.max():.1%}", *(f"{top1[method]:.1%}" for method in METHODS)]
        print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
