"""Some of a reader's images, as if there were no others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from raycv.data.readers import Item, Reader
from raycv.data.sampling import permuted


@dataclass(frozen=True)
class Selection:
    """The first ``count`` images of ``reader`` in one pseudo-random order, numbered in the order of the files.

    The order depends on the number of images alone, so a smaller selection is part of a larger one. It knows no labels:
    classes keep their proportions as in any random choice.
    """

    reader: Reader
    count: int

    @property
    def root(self) -> str:
        """What all its files are below."""
        return self.reader.root

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Of all classes, also of one without an image here."""
        return self.reader.class_names

    @property
    def neighbours(self) -> int:
        """As of the reader."""
        return self.reader.neighbours

    @property
    def facts(self) -> Any:
        """What identifies the images."""
        return [self.reader.facts, self.count]

    def __len__(self) -> int:
        return self.count

    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        """Images by their number in the selection."""
        return self.reader.items(_chosen(self.count, len(self.reader))[np.asarray(numbers, dtype=np.int64)])

    def largest_label(self) -> int:
        """Of all images, also of those that are not here."""
        return self.reader.largest_label()


@lru_cache(maxsize=2)
def _chosen(count: int, size: int) -> np.ndarray:
    """(count,): the chosen of ``size`` images, rising, so that neighbours still stand close in the files."""
    return np.sort(permuted(np.arange(count), size, seed=0))
