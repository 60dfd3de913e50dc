"""What every network of a run is trained on, where that is not all images with their labels, and which seeds it takes.

Halves follow from the images alone, random labels from the number of an image, so that the same settings give the same
networks wherever and whenever they are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raycv.config import TrainConfig
from raycv.data.sampling import permuted
from raycv.data.sources import Source
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec

LEAST_CLASSES = 4  # of which each half has two: of one class there is nothing to tell apart
HALVES, LABELS = 3, 4  # seeds of the order in which images are cut in halves, and of random labels
EACH = "random-each"


@dataclass(frozen=True)
class Condition:
    """Of one network.

    ``images``: (n,) the numbers of its training images, rising, None for all. ``labels``: the seed of its random
    labels, None for the true ones. ``weights`` and ``order``: the seeds of its first weights and of the order and
    augmentation of its images, None for its own. ``is_augmented``: whether images are cropped and mirrored at random.
    """

    images: np.ndarray | None = None
    labels: tuple[int, ...] | None = None
    weights: int | None = None
    order: int | None = None
    is_augmented: bool = True

    def count(self, images: int) -> int:
        """How many of the training images are its own."""
        return images if self.images is None else len(self.images)

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """The numbers of its images, by their places among them."""
        return places if self.images is None else self.images[places]

    def labelled(self, count: int, classes: int) -> np.ndarray | None:
        """(count,) int64: its random labels of all training images, every class as likely; None for the true ones."""
        if self.labels is None:
            return None
        return np.random.default_rng([LABELS, *self.labels]).integers(classes, size=count, dtype=np.int64)


def conditions_of(config: TrainConfig, specs: Sequence[NetworkSpec], training: Source) -> list[Condition]:
    """The condition of every network. Raises UserError where there are too few images or classes for halves."""
    sides = _sides(config, training)
    return [
        Condition(
            images=sides[number % len(sides)],
            labels={"true": None, "random": (0,), EACH: (1, spec.seed)}[config.train_labels],
            weights=specs[0].seed if config.first_weights == "same" else None,
            order=specs[0].seed if config.image_order == "same" else None,
            is_augmented=config.augmentation == "usual",
        )
        for number, spec in enumerate(specs)
    ]


def halved(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of some numbers in an order, as many in each, rising."""
    half = len(order) // 2
    return np.sort(order[:half]), np.sort(order[half : 2 * half])


def _sides(config: TrainConfig, training: Source) -> Sequence[np.ndarray | None]:
    """The images of the first and, where they are not the same, of the second of two networks."""
    if config.train_part == config.train_classes == "all":
        return (None,)
    order = permuted(np.arange(len(training)), len(training), seed=HALVES)
    sides = halved(order) if config.train_part != "all" else _by_class(training, order)
    return sides if "halves" in (config.train_part, config.train_classes) else sides[:1]


def _by_class(training: Source, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images of the first half of the classes and of the second, as many of each."""
    if training.classes < LEAST_CLASSES:
        raise UserError(
            f"The images of {training.name} have {training.classes} classes, and --train-classes needs {LEAST_CLASSES} "
            "or more, so that either half of them has two to tell apart; leave --train-classes out."
        )
    labels, half = training.labels()[order], training.classes // 2
    first, second = order[labels < half], order[(labels >= half) & (labels < 2 * half)]
    count = min(len(first), len(second))
    return np.sort(first[:count]), np.sort(second[:count])
