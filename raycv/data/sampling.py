"""Which samples of a layer are kept for mutual information: the same however images are cut into shards.

All samples (image, position) of a layer, N = images x positions, are put into a pseudo-random order by a
keyed permutation of 0 .. N - 1, and the first ``wanted`` of that order are taken. The permutation is computed
for each place in the order separately. So no array of size N is needed, exactly ``wanted`` samples are taken
over the whole set, each shard finds its own independently of the others, and a sample's place in the order,
its rank, is the same in every run. Taking fewer keeps a prefix: the first 10,000 of 60,000 are the sample of
10,000.

For the nulls of single units, whole images are taken instead, with a few positions of each: images are cut into strata,
all images of a stratum have the same positions, and those of all strata lie all over the layer. So an image can stand
in the place of any other of its stratum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import numpy as np

from raycv.analysis.splitmix import GOLDEN, mixed

WANTED = 60_000  # samples per layer (paper, section 3.2)
TESTED = 10_000  # samples per layer in which units are tested against chance
PER_STRATUM = 32  # images at least, if there are so many
ROUNDS = 8
IMAGES, POSITIONS = 1, 2  # seeds of the orders of whole images, and of positions


@dataclass(frozen=True)
class Chosen:
    """The samples taken from one shard, n in all, int64 arrays, by image and then position.

    image (n,) place of the image within the shard; position (n,) within the layer, row by row; rank (n,)
    place of the sample among all that are taken from the whole set, 0 to min(wanted, N) - 1, each held by one
    sample of one shard.
    """

    image: np.ndarray
    position: np.ndarray
    rank: np.ndarray


def choose(images: np.ndarray, positions: int, total_images: int, wanted: int = WANTED, *, seed: int = 0) -> Chosen:
    """The samples taken from a shard of the image numbers ``images``, out of ``total_images`` in all.

    positions is the number of positions of the layer, 1 where it is fully connected. Over shards that hold
    every image once, exactly ``wanted`` samples are taken, or all of them if there are no more. Time and
    memory grow with ``wanted`` and ``total_images``, not with the number of samples. Raises ValueError for an
    image number outside 0 .. total_images - 1 or given twice, and for sizes below 1.
    """
    if positions < 1 or total_images < 1 or wanted < 1:
        raise ValueError(
            f"positions is {positions}, total_images {total_images}, wanted {wanted}; each must be at least 1"
        )
    images = np.asarray(images, np.int64)
    if len(images) and not 0 <= images.min() <= images.max() < total_images:
        raise ValueError(
            f"image numbers run from {images.min()} to {images.max()}; they must be from 0 to {total_images - 1}"
        )
    place = np.full(total_images, -1)
    place[images] = np.arange(len(images))
    if np.count_nonzero(place >= 0) < len(images):
        raise ValueError("an image number occurs twice in the shard; every image must be counted once")
    samples = total_images * positions
    taken = _taken(min(wanted, samples), samples, seed)
    image, position = place[taken // positions], taken % positions
    rank = np.flatnonzero(image >= 0)
    rank = rank[np.lexsort((position[rank], image[rank]))]
    return Chosen(image[rank], position[rank], rank)


@dataclass(frozen=True)
class Strata:
    """How whole images are taken: ``images`` of them, ``positions`` of each, in ``strata`` of images."""

    images: int
    positions: int
    strata: int

    @classmethod
    def of(cls, positions: int, total_images: int, wanted: int = TESTED) -> Strata:
        """Those of a layer with so many positions: all images or, where they are more, ``wanted``; no more samples."""
        images = min(total_images, wanted)
        each = min(positions, wanted // images)
        return cls(images, each, max(1, min(positions // each, images // PER_STRATUM)))

    @property
    def samples(self) -> int:
        """How many samples that makes."""
        return self.images * self.positions

    @property
    def of_images(self) -> np.ndarray:
        """(images,): the stratum of each image, by its place in the pseudo-random order of images."""
        return np.arange(self.images) % self.strata


def choose_images(images: np.ndarray, positions: int, total_images: int, wanted: int = TESTED) -> Chosen:
    """The samples of whole images taken from a shard, see `Strata`; arguments as of ``choose``.

    Ranks go image by image. Over shards that hold every image once, each of the images taken is there once.
    """
    taken = Strata.of(positions, total_images, wanted)
    place = np.full(total_images, -1)
    place[np.asarray(images, np.int64)] = np.arange(len(images))
    image = place[_taken(taken.images, total_images, IMAGES)]
    inside = np.flatnonzero(image >= 0)
    inside = inside[np.argsort(image[inside], kind="stable")]
    spread = _taken(taken.strata * taken.positions, positions, POSITIONS).reshape(taken.strata, taken.positions)
    of_stratum = np.sort(spread, axis=1)
    rank = inside[:, None] * taken.positions + np.arange(taken.positions)
    position = of_stratum[taken.of_images[inside]]
    return Chosen(np.repeat(image[inside], taken.positions), position.ravel(), rank.ravel())


def elsewhere(position: np.ndarray) -> np.ndarray:
    """(m,): for every sample, in the order of ranks, one at the same ``position`` (m,) of another image, each once.

    The samples at one position are shifted by half their number; a position with one sample keeps it. What two networks
    then have in common is due to the position alone.
    """
    order = np.argsort(position, kind="stable")
    counts = np.bincount(position)
    first, size = np.repeat(np.cumsum(counts) - counts, counts), np.repeat(counts, counts)
    other = np.empty(len(position), np.int64)
    other[order] = order[first + (np.arange(len(position)) - first + size // 2) % size]
    return other


@lru_cache(maxsize=32)
def _taken(wanted: int, samples: int, seed: int) -> np.ndarray:
    """The first ``wanted`` samples of the order; the same for every shard, so kept."""
    return permuted(np.arange(wanted), samples, seed)


def permuted(numbers: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Where a pseudo-random permutation of 0 .. size - 1 takes ``numbers``, int64 of the same range.

    A Feistel network over pairs (left, right), each below √size rounded up, as in Black & Rogaway (2002),
    "Ciphers with Arbitrary Finite Domains": every round is a permutation of the pairs. The few pairs beyond
    ``size`` are sent round again until they fall inside, which keeps it one.
    """
    side = np.uint64(isqrt(size - 1) + 1)
    result = numbers.astype(np.uint64)
    outside = np.arange(len(result))
    while len(outside):
        left, right = np.divmod(result[outside], side)
        for step in range(ROUNDS):
            left, right = right, (left + _hash(right, seed * ROUNDS + step) % side) % side
        result[outside] = left * side + right
        outside = outside[result[outside] >= size]
    return result.astype(np.int64)


def _hash(values: np.ndarray, key: int) -> np.ndarray:
    """SplitMix64 of uint64 values, started at the ``key``-th of its streams."""
    return mixed(values * GOLDEN + np.uint64((key + 1) * 0xD1342543DE82EF95 % 2**64))
