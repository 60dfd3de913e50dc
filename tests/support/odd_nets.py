"""Functions of a user's own that do what they should not, and networks of kinds that raycv must get along with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from raycv.data.preprocessing import Preprocessing
from tests.support.nets import WAY

Made = tuple[nn.Module, Preprocessing]


class Small(nn.Module):
    """Two convolutions, which the classes below run in their own ways."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(4, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Any:
        return self.head(self.first(images))


def half() -> Made:
    return Small().half(), WAY


def double() -> Made:
    return Small().double(), WAY


class LooksAtValues(Small):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images if images.sum() > 0 else -images)


class LooksWithNumpy(Small):
    def forward(self, images: Tensor) -> Any:
        assert np.isfinite(images.detach().numpy().sum())
        return super().forward(images)


class GivesADict(Small):
    def forward(self, images: Tensor) -> Any:
        return {"logits": super().forward(images)}


class Counts(Small):
    """Gives other values each time."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(()))
        self.calls, self.collected = 0, list[int]()

    def forward(self, images: Tensor) -> Any:
        self.seen = self.seen + 1
        self.get_buffer("seen").add_(1)
        self.calls += 1
        self.collected.append(self.calls)
        self.cached = images
        return super().forward(images) * (self.seen + self.calls + len(self.collected))


class ChangesItself(Small):
    def forward(self, images: Tensor) -> Any:
        with torch.no_grad():
            next(self.parameters()).add_(1)
        return super().forward(images)


class IsLazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.LazyConv2d(4, 5, 3), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    def forward(self, images: Tensor) -> Any:
        return self.head(self.first(images))


class WithoutGradients(Small):
    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        return super().forward(images)


def of(kind: type[nn.Module]) -> Callable[[], Made]:
    return lambda: (kind(), WAY)


looks_at_values, looks_with_numpy = of(LooksAtValues), of(LooksWithNumpy)
gives_a_dict, counts, changes_itself = of(GivesADict), of(Counts), of(ChangesItself)
is_lazy, without_gradients = of(IsLazy), of(WithoutGradients)


def with_a_forward_of_its_own() -> Made:
    net = Small()
    net.forward = lambda images: net.head(net.first(images))  # type: ignore[method-assign]
    return net, WAY


class Stops(Small):
    """Runs ``stop`` in its forward."""

    def __init__(self, stop: Callable[[], Any]) -> None:
        super().__init__()
        self.stop = stop

    def forward(self, images: Tensor) -> Any:
        self.stop()
        return super().forward(images)


def raises() -> NoReturn:
    raise ValueError("two\nlines")


def exits() -> NoReturn:
    sys.exit()


def exits_with_words() -> NoReturn:
    sys.exit("enough")


def ends() -> NoReturn:
    os._exit(0)


def aborts() -> NoReturn:
    os.abort()


def interrupts() -> NoReturn:
    raise KeyboardInterrupt


class OfItsOwn(BaseException):
    """An error of a kind that few expect."""


def raises_its_own() -> NoReturn:
    raise OfItsOwn("no module")


def recurses() -> NoReturn:
    recurses()


STOPS = (raises, exits, exits_with_words, ends, aborts, interrupts, raises_its_own, recurses)


def stopping(name: str) -> Made:
    return Stops(globals()[name]), WAY


def a_class() -> type[nn.Module]:
    return nn.Linear


def nothing() -> None:
    return None


def a_script() -> Made:
    return torch.jit.trace(Small(), torch.zeros(1, 3, 32, 32)), WAY  # type: ignore[no-untyped-call]


def prints_and_goes_away() -> Made:
    print("printed by a user's function")
    os.chdir("/")
    return Small(), WAY


def of_no_use() -> Made:
    return Small(), Preprocessing(resize=10**6, crop=32, mean=(0, 0, 0), std=(1, 0, 1))
