"""Top patches: for every unit the samples of highest activation, from distinct images (paper, figures 2 and 6).

Of an image counts the position of the unit's highest activation, the first of equals; of images the nine with the
highest values, of equals those with the lowest numbers. That order is total, so parts can be merged in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from raycv.paper import TOP_PATCHES

Peaks = tuple[Tensor, Tensor]  # highest values (images, S) float32, and the first position of each (images, S) int32


@dataclass(frozen=True)
class TopPatches:
    """Of S units, best first: value (S, 9) float32, image (S, 9) int64 and position (S, 9) int32, row by row.

    Where there are fewer images the value is -inf and image and position are -1.
    """

    value: np.ndarray
    image: np.ndarray
    position: np.ndarray

    @classmethod
    def none(cls, units: int) -> Self:
        """Of no images."""
        shape = units, TOP_PATCHES
        return cls(np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64), np.full(shape, -1, np.int32))

    @classmethod
    def of(cls, parts: Sequence[Peaks], images: np.ndarray) -> Self:
        """Of the image numbers ``images`` (n,), whose peaks come in one or more parts, one after the other."""
        best, place = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
        top = cls.none(best.shape[1])
        _insert(top.value, top.image, top.position, best, np.repeat(images[:, None], best.shape[1], axis=1), place)
        return top

    def merge(self, other: TopPatches) -> None:
        """Take in those of other images."""
        parts = (np.ascontiguousarray(part.T) for part in (other.value, other.image, other.position))
        _insert(self.value, self.image, self.position, *parts)

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """As named arrays, to be stored."""
        return {f"{prefix}/value": self.value, f"{prefix}/image": self.image, f"{prefix}/position": self.position}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> Self:
        """The inverse of ``arrays``."""
        return cls(*(arrays[f"{prefix}/{name}"] for name in ("value", "image", "position")))


def peaks(samples: Tensor, images: int) -> Peaks:
    """Of samples (images x positions, S) the highest of every image and unit, and where it is; on their device."""
    by_image = samples.reshape(images, -1, samples.shape[1])
    if samples.device.type != "cpu":
        return _peaks_on_gpu(by_image)
    found = torch.empty(images, samples.shape[1]), torch.zeros(images, samples.shape[1], dtype=torch.int32)
    _highest(by_image.numpy(), *(part.numpy() for part in found))
    return found


def _peaks_on_gpu(by_image: Tensor) -> Peaks:
    best, first = by_image.max(1)  # of equals the first
    return best, first.int()


@njit(cache=True, nogil=True)
def _highest(samples: NDArray[np.float32], best: NDArray[np.float32], place: NDArray[np.int32]) -> None:
    """Of samples (images, positions, S) the highest of each image and unit, and the first position that has it."""
    images, positions, units = samples.shape
    for i in range(images):
        high, where = best[i], place[i]
        high[:] = samples[i, 0]
        for p in range(1, positions):
            row = samples[i, p]
            for u in range(units):
                larger = row[u] > high[u]
                high[u] = row[u] if larger else high[u]
                where[u] = np.int32(p) if larger else where[u]


@njit(cache=True, nogil=True)
def _insert(
    value: NDArray[np.float32],
    image: NDArray[np.int64],
    position: NDArray[np.int32],
    best: NDArray[np.float32],
    numbers: NDArray[np.int64],
    place: NDArray[np.int32],
) -> None:
    """Sort n values for each unit (n, S), with their images and positions, in among the best so far (S, 9)."""
    for i in range(len(best)):
        for u in range(len(value)):
            x, number = best[i, u], numbers[i, u]
            rank = TOP_PATCHES
            while rank > 0 and (x > value[u, rank - 1] or (x == value[u, rank - 1] and number < image[u, rank - 1])):
                rank -= 1
            for r in range(TOP_PATCHES - 1, rank, -1):
                value[u, r], image[u, r], position[u, r] = value[u, r - 1], image[u, r - 1], position[u, r - 1]
            if rank < TOP_PATCHES:
                value[u, rank], image[u, rank], position[u, rank] = x, number, place[i, u]
