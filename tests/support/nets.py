"""Networks of a user's own, as functions that runs name: tests.support.nets:convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raycv.data.preprocessing import Preprocessing
from raycv.networks import trust
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.spec import NetworkSpec

WAY = Preprocessing(resize=32, crop=32, mean=(125.0, 125.0, 125.0), std=(60.0, 60.0, 60.0))
OTHER_WAY = Preprocessing(resize=40, crop=36, fit="short-side", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))


def described(model: str, preprocessing: Preprocessing | None = None, **more: object) -> NetworkSpec:
    """A network of any kind, of which the logits are compared; a function that builds it is allowed from now on."""
    trust.allow([model])
    found = preprocessing or preprocessing_of(model)
    spec = NetworkSpec(name="net1", model=model, classes=10, seed=1, layers=("logits",), preprocessing=found)
    return spec.model_copy(update=more)


class Tokens(nn.Module):
    """A small transformer of 16 patches and a class token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 8, 8)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 24, dropout=0.0, batch_first=True, activation="gelu") for _ in range(2)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).mT
        tokens = torch.cat([self.first.expand(len(tokens), -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(tokens[:, 0])
        return logits


def tokens(seed: int = 0, width: int = 8) -> tuple[nn.Module, Preprocessing]:
    torch.manual_seed(seed)
    return Tokens(width), WAY


def convolutions(seed: int = 0, width: int = 6) -> tuple[nn.Module, Preprocessing]:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, width, 5, 2), nn.ReLU()),
        nn.Sequential(nn.Conv2d(width, width + 2, 3), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width + 2, 10),
    )
    return net, OTHER_WAY


def without_preprocessing() -> nn.Module:
    return nn.Conv2d(3, 4, 3)


def raising() -> nn.Module:
    raise RuntimeError("no such file")


def of_no_kind() -> str:
    return "a network"


NOT_A_FUNCTION = 3
