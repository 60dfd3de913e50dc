"""The images of a layer in two halves, in several ways, from the sums of their folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raycv.analysis.partner_stability import Stability, partner_stability
from raycv.statistics.folds import LayerStatistics, correlation_of
from raycv.statistics.moments import JointMoments

Halves = Sequence[tuple[JointMoments, JointMoments]]


def halves(found: LayerStatistics) -> Halves:
    """The moments of both halves: of eight folds four splits in four and four, of two folds one; of one fold none.

    Products are added when they are asked for, so that these take no memory.
    """

    def over(chosen: Sequence[int]) -> JointMoments:
        return LayerStatistics(tuple(found.folds[n] for n in chosen)).together

    return [(over(first), over(second)) for first, second in in_halves(len(found.folds))]


def in_halves(folds: int) -> list[tuple[list[int], list[int]]]:
    """The numbers of so many folds in two halves, in several ways.

    >>> in_halves(4)
    [([0, 1], [2, 3]), ([1, 2], [3, 0])]
    """
    half = folds // 2
    return [
        ([(first + n) % folds for n in range(half)], [(first + n) % folds for n in range(half, folds)])
        for first in range(half)
    ]


def stabilities(
    splits: Halves, left_out: np.ndarray, a: int, b: int, *, signed: bool = True
) -> tuple[Stability, Stability] | None:
    """How stable the partners of network a's units in b are, and of b's in a; None where there are no ``splits``.

    ``left_out`` (U,): the stacked units that take no part.
    """
    if not splits:
        return None
    found = [[correlation_of(half, left_out, a, b) for half in split] for split in splits]
    there = partner_stability(((first, second) for first, second in found), signed=signed)
    return there, partner_stability(((first.T, second.T) for first, second in found), signed=signed)
