"""How well a network classifies: cross-entropy and correct answers, in total and class by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raycv.data.preprocessing import Preprocessing
from raycv.devices import in_float64

# uint8 images (B, size, size, 3) or sequences of bytes (B, T); int64 labels (B,), of sequences 0.
Batch = tuple[Tensor, Tensor]
BATCH = 256  # images in one pass


@dataclass(frozen=True)
class Scores:
    """Sums over images by class, each (C,): cross-entropy in nats, correct answers, and how many images there are."""

    losses: np.ndarray
    correct: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, sums: Tensor) -> Self:
        """From a tensor (3, C) of these sums, as `score` gives it."""
        return cls(*sums.cpu().numpy())

    @property
    def loss(self) -> float:
        """Mean cross-entropy of an image, nats."""
        return float(self.losses.sum() / self.images.sum())

    @property
    def top1(self) -> float:
        """The fraction of images classified correctly."""
        return float(self.correct.sum() / self.images.sum())

    @property
    def class_loss(self) -> np.ndarray:
        """(C,): mean cross-entropy of the images of each class; NaN for a class without images."""
        return self._by_class(self.losses)

    @property
    def class_top1(self) -> np.ndarray:
        """(C,): the fraction of the images of each class that is classified correctly; NaN for one without images."""
        return self._by_class(self.correct)

    def columns(self) -> dict[str, float]:
        """Loss and top-1 as columns of a table."""
        return {"loss": self.loss, "top1": self.top1}

    def change_from(self, whole: Scores) -> dict[str, float]:
        """As columns of a table, how much higher both are than those of a network that was not changed."""
        return {"loss_change": self.loss - whole.loss, "top1_change": self.top1 - whole.top1}

    def _by_class(self, sums: np.ndarray) -> np.ndarray:
        means: np.ndarray = np.divide(sums, self.images, out=np.full(len(sums), np.nan), where=self.images > 0)
        return means


@torch.inference_mode()
def evaluate(
    network: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    preprocessing: Preprocessing | None,
    device: torch.device,
) -> Scores:
    """The scores of ``network``, which maps images (B, 3, H, W) to logits (B, C), over all ``batches``.

    Without ``preprocessing`` batches have sequences (B, T) in the place of images, of which every token but the first
    is to be told from those before it, as `next_tokens` has it. A module is to be in evaluation mode and on ``device``.
    Raises ValueError where there are no batches.
    """
    sums: Tensor | None = None
    for images, labels in batches:
        sent = images.to(device, non_blocking=True)
        if preprocessing is None:
            found = score(*next_tokens(network(sent.long()), sent.long()))
        else:
            found = score(network(preprocessing.evaluation(sent)), labels.to(device, non_blocking=True))
        sums = found if sums is None else sums + found
    if sums is None:
        raise ValueError("there are no images to evaluate a network on")
    return Scores.of(sums)


def score(logits: Tensor, labels: Tensor) -> Tensor:
    """(3, C) float64: sums by class of cross-entropy, correct answers and images, from logits (B, C), labels (B,)."""
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    found = in_float64(torch.stack([losses, logits.argmax(1) == labels, torch.ones_like(losses)]))
    sums = torch.zeros(3, logits.shape[1], dtype=torch.float64, device=found.device)
    return sums.index_add_(1, labels.to(found.device), found)


def next_tokens(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What is told of the next token, (B·(T-1), C), and which it is, from logits (B, T, C) and tokens (B, T)."""
    return logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()


def in_batches(images: np.ndarray | Tensor, labels: np.ndarray | Tensor, size: int = BATCH) -> Iterator[Batch]:
    """Images (N, size, size, 3) uint8 and labels (N,) that are in memory, ``size`` at a time, in their order."""
    pixels, classes = torch.as_tensor(images), torch.as_tensor(labels)
    for first in range(0, len(pixels), size):
        yield pixels[first : first + size], classes[first : first + size]
