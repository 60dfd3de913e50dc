"""The machine code of `raycv.analysis.dictionaries`: correlations of features from where both are active."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.arrays import Floats, Ints
from raycv.extras import needed

with needed():
    from numba import njit


Indices = NDArray[Any]  # int32 or int64


@njit(cache=True, nogil=True)
def best_of_each(
    features: tuple[int, int],
    a: tuple[Indices, Indices, Floats],
    b: tuple[Indices, Indices, Floats],
    order: Ints,
    centres: tuple[Floats, Floats],
    scales: tuple[Floats, Floats],
    columns: Ints,
    values: Floats,
) -> None:
    """Fill ``columns`` and ``values`` of the ``features`` of a, from the first up to the last, with the best of b.

    ``a``: by column, ``b``: by row, each as starts, indices and values. Sample n of a is sample ``order[n]`` of b.
    ``centres``: the means; ``scales``: 1 / deviation, 0 of constant features.
    """
    starts_a, samples, of_a = a
    starts_b, numbers, of_b = b
    count = len(order)
    products = np.zeros(len(centres[1]))
    for i in range(features[0], features[1]):
        for p in range(starts_a[i], starts_a[i + 1]):
            sample, value = order[samples[p]], of_a[p]
            for q in range(starts_b[sample], starts_b[sample + 1]):
                products[numbers[q]] += value * of_b[q]
        best, place = 0.0, -1
        for j in range(len(products)):
            if products[j] != 0:
                found = (products[j] / count - centres[0][i] * centres[1][j]) * scales[0][i] * scales[1][j]
                if found > best:
                    best, place = found, j
                products[j] = 0
        columns[i], values[i] = place, best
