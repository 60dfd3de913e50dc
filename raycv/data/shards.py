"""The fixed order in which validation images are taken: folds, and shards within folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raycv.analysis.splitmix import GOLDEN, mixed
from raycv.errors import UserError

LARGEST_BLOCK = 64


@dataclass(frozen=True)
class Shard:
    """The unit of work of the pass: ``images`` (n,) int64, the numbers of its images in ascending order."""

    number: int
    fold: int
    images: np.ndarray


def shards(images: int, *, folds: int, shard_size: int) -> list[Shard]:
    """Cut images 0 ... ``images`` - 1 into ``folds`` nearly equal folds and each fold into shards.

    The order is pseudo-random but fixed, and taken block by block: up to 64 neighbours stay together, so that reading
    a shard from Parquet touches few row groups, while every fold still holds at least 64 blocks from all over the set.
    Folds do not depend on ``shard_size``. Raises UserError where there are fewer images than folds.
    """
    if images < folds:
        raise UserError(
            f"The number of validation images is {images} and statistics need at least {folds}; name more with --data."
        )
    block = max(1, min(LARGEST_BLOCK, images // (LARGEST_BLOCK * folds)))
    starts = np.arange(0, images, block, dtype=np.int64)
    shuffled = starts[np.argsort(mixed(starts.astype(np.uint64) + GOLDEN), kind="stable")]
    order = (shuffled[:, None] + np.arange(block)).ravel()
    order = order[order < images]
    result: list[Shard] = []
    for fold, members in enumerate(np.array_split(order, folds)):
        for start in range(0, len(members), shard_size):
            result.append(Shard(len(result), fold, np.sort(members[start : start + shard_size])))
    return result
