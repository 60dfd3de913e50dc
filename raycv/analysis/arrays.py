"""Names for the arrays that analysis works on."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def neighbours(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """The places of ``sizes`` in their order, as many together as add up to ``most``, or one."""
    some: list[int] = []
    for place, size in enumerate(sizes):
        if some and sum(sizes[n] for n in some) + size > most:
            yield some
            some = []
        some.append(place)
    if some:
        yield some
