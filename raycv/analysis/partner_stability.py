"""How sure the partner of a unit is: whether other images name the same one, and how alike the two are there.

The largest of many correlations is too large on the images on which it was found to be the largest, and where several
units are nearly as alike, chance decides which of them is called the partner.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats
from raycv.analysis.matching import semi_matching


@dataclass(frozen=True)
class Stability:
    """Of every unit of a (S_a,), NaN for one that can have no partner.

    ``same``: the share of splits of the images whose halves name the same partner; ``heldout``: the correlation in one
    half with the partner that the other half names, mean over both halves and all splits.
    """

    same: Floats
    heldout: Floats


def partner_stability(splits: Iterable[tuple[ArrayLike, ArrayLike]], *, signed: bool = True) -> Stability:
    """That of best partners; ``splits``: the correlations (S_a, S_b) in both halves, of one or more splits.

    Partners are units of largest correlation or, unless ``signed``, of largest absolute correlation; then ``heldout``
    is negative where the sign changes. A unit that is constant in one half has no partner there, which is none that is
    the same, and a correlation of 0.

    >>> one, other = [[0.9, 0.1], [0.5, 0.4]], [[0.8, 0.2], [0.1, 0.3]]
    >>> partner_stability([(one, other)])
    Stability(same=array([1., 0.]), heldout=array([0.85, 0.25]))
    """
    same, heldout, counts = [], [], 0
    possible: np.ndarray | bool = False
    for pair in splits:
        halves = [np.asarray(half, dtype=np.float64) for half in pair]
        named = [semi_matching(half if signed else np.abs(half)) for half in halves]
        first, second = (matching.columns for matching in named)
        same.append((first == second) & (first >= 0))
        possible = possible | (first >= 0) | (second >= 0)
        for here, there, columns in ((halves[0], halves[1], first), (halves[1], halves[0], second)):
            rows = np.arange(len(columns))
            sign = 1.0 if signed else np.sign(here[rows, columns])
            heldout.append(np.where(columns >= 0, np.nan_to_num(sign * there[rows, columns]), 0.0))
        counts += 1
    if not counts:
        raise ValueError("there must be one split of the images or more")
    return Stability(
        np.where(possible, np.mean(same, axis=0), np.nan), np.where(possible, np.mean(heldout, axis=0), np.nan)
    )
