"""Images as arrays, for networks of one's own."""

from __future__ import annotations

from typing import get_args

import numpy as np

from raycv.data.preprocessing import LARGEST, Resize
from raycv.data.readers import EMBEDDED
from raycv.data.sources import Split, open_source
from raycv.errors import UserError


def images(
    data: str = EMBEDDED, split: Split = "validation", *, count: int | None = None, size: int = 32, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Load images as arrays, in an order drawn at random.

    Parameters
    ----------
    data : str
        By default the 8,000 training and 2,000 validation images of CIFAR-10 that raycv ships, or whatever ``--data``
        takes.
    split : {"train", "validation"}, default "validation"
        Which part of the set.
    count : int, optional
        How many; None: all.
    size : int, default 32
        Height and width in pixels; images of other sizes are squashed to it.
    seed : int, default 0
        Of the order.

    Returns
    -------
    pixels : ndarray of shape (n, size, size, 3), uint8
        Red, green, blue.
    labels : ndarray of shape (n,), int64
        Numbers of classes.

    Raises
    ------
    UserError
        Where there is no such set or split, or fewer images, and for a size outside 1 to 4,096.

    Examples
    --------
    >>> import raycv
    >>> pixels, labels = raycv.images(split="train", count=100)
    >>> pixels.shape, pixels.dtype, sorted(set(labels.tolist())) == list(range(10))
    ((100, 32, 32, 3), dtype('uint8'), True)
    """
    if split not in get_args(Split):
        raise UserError(f"split is {split!r}; name one of {', '.join(get_args(Split))}.")
    source = open_source(data, split)
    count = len(source) if count is None else count
    if not 1 <= size <= LARGEST:
        raise UserError(f"size is {size:,}; an image is 1 to {LARGEST:,} pixels wide and high.")
    if not 1 <= count <= len(source):
        raise UserError(f"count is {count:,}, and {data} has {len(source):,} {split} images; name 1 to as many.")
    return source.decode(np.random.default_rng(seed).permutation(len(source))[:count], Resize(size))
