"""Top patches: for every unit, the images and positions where it is most active (paper, figures 2 and 6).

Each image enters with one position: the one where the unit is most active (ties: the first position). Each unit keeps
the nine images with the highest values (ties: the lowest image numbers). No two images rank equal, so parts can be
merged in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from raycv.extras import needed
from raycv.paper import TOP_PATCHES

with needed():
    from numba import njit

if TYPE_CHECKING:
    from torch import Tensor

# Highest values (images, S) and their first positions (images, S) int32.
Peaks: TypeAlias = "tuple[Tensor, Tensor]"


@dataclass(frozen=True)
class TopPatches:
    """The nine images and positions where each unit is most active, best first (paper, figures 2 and 6).

    Each image enters with one position: the one where the unit is most active (ties: the first position). Ties between
    images: the lowest image numbers. So no two images rank equal, and parts can be merged in any order.

    Attributes
    ----------
    value : ndarray of shape (S, 9)
        Activations, as precise as they were given; -inf where there are fewer than nine images.
    image : ndarray of shape (S, 9), int64
        Numbers of images; -1 there.
    position : ndarray of shape (S, 9), int32
        In the layer, row by row; -1 there.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from raycv.analysis import TopPatches
    >>> best, position = torch.tensor([[0.5], [2.0]]), torch.tensor([[3], [1]], dtype=torch.int32)
    >>> top = TopPatches.of([(best, position)], np.array([10, 11]))              # one unit in two images
    >>> top.image[0, :3].tolist(), top.value[0, :3].tolist()
    ([11, 10, -1], [2.0, 0.5, -inf])
    """

    value: np.ndarray
    image: np.ndarray
    position: np.ndarray

    @classmethod
    def none(cls, units: int, kind: DTypeLike = np.float32) -> Self:
        """Make the top patches of no images.

        Parameters
        ----------
        units : int
            S.
        kind : dtype, default float32
            Of the values.

        Returns
        -------
        TopPatches
            Every entry is empty.
        """
        shape = units, TOP_PATCHES
        return cls(np.full(shape, -np.inf, kind), np.full(shape, -1, np.int64), np.full(shape, -1, np.int32))

    @classmethod
    def of(cls, parts: Sequence[Peaks], images: np.ndarray) -> Self:
        """Find the top patches of some images.

        Parameters
        ----------
        parts : sequence of (Tensor, Tensor)
            Of some images each, the highest values (images, S) and their positions (images, S) int32.
        images : ndarray of shape (n,), int64
            Numbers of the images, in the order of the parts.

        Returns
        -------
        TopPatches
            Of these images alone.
        """
        with needed():
            import torch

        best, place = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
        top = cls.none(best.shape[1], best.dtype)
        _insert(top.value, top.image, top.position, best, np.repeat(images[:, None], best.shape[1], axis=1), place)
        return top

    def merge(self, other: TopPatches) -> None:
        """Add the top patches of other images.

        Parameters
        ----------
        other : TopPatches
            Of the same units; stays as it is.
        """
        parts = (np.ascontiguousarray(part.T) for part in (other.value, other.image, other.position))
        _insert(self.value, self.image, self.position, *parts)

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """Name the arrays, for storage.

        Parameters
        ----------
        prefix : str
            Of the names.

        Returns
        -------
        dict of str to ndarray
            PREFIX/value, PREFIX/image and PREFIX/position.
        """
        return {f"{prefix}/value": self.value, f"{prefix}/image": self.image, f"{prefix}/position": self.position}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> Self:
        """Take the top patches back from what ``arrays`` gave.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            There may be others among them.
        prefix : str
            Of the names.

        Returns
        -------
        TopPatches
            The same.
        """
        return cls(*(arrays[f"{prefix}/{name}"] for name in ("value", "image", "position")))


def class_purity(labels: np.ndarray) -> np.ndarray:
    """Compute the share of each unit's top patches that are of the most frequent class among them.

    Parameters
    ----------
    labels : ndarray of shape (S, 9), int
        The classes of their images, -1 where there is none.

    Returns
    -------
    ndarray of shape (S,)
        From 1/9 to 1; NaN for a unit without any.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import class_purity
    >>> class_purity(np.array([[4, 4, 4, 7], [-1, -1, -1, -1]])).tolist()
    [0.75, nan]
    """
    there = labels >= 0
    alike = (labels[:, :, None] == labels[:, None, :]) & there[:, :, None]
    return np.asarray(alike.sum(1).max(1) / np.where(there.any(1), there.sum(1), np.nan))


def peaks(samples: Tensor, images: int) -> Peaks:
    """The highest sample of every image and unit, and its position, from samples (images x positions, S).

    Computed on the device of the samples.
    """
    with needed():
        import torch

    by_image = samples.reshape(images, -1, samples.shape[1])
    if samples.device.type != "cpu":
        return _peaks_on_gpu(by_image)
    found = by_image.new_empty(images, samples.shape[1]), torch.zeros(images, samples.shape[1], dtype=torch.int32)
    _highest(by_image.numpy(), *(part.numpy() for part in found))
    return found


def _peaks_on_gpu(by_image: Tensor) -> Peaks:
    best, first = by_image.max(1)  # ties: the first position
    return best, first.int()


@njit(cache=True, nogil=True)
def _highest(samples: NDArray[Any], best: NDArray[Any], place: NDArray[np.int32]) -> None:
    """Fill in the highest of samples (images, positions, S) for each image and unit, and its first position."""
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
    value: NDArray[Any],
    image: NDArray[np.int64],
    position: NDArray[np.int32],
    best: NDArray[Any],
    numbers: NDArray[np.int64],
    place: NDArray[np.int32],
) -> None:
    """Insert n values per unit (n, S), with their images and positions, into the best values so far (S, 9)."""
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
