"""Into how many folds of the images the moments of a layer are kept; the sums of single units always into eight."""

from __future__ import annotations

from collections.abc import Sequence

from raycv.analysis.nulls import WIDE
from raycv.statistics.moments import gram_bytes

FOLDS = 8
FEWER = (8, 4, 2)  # of layers wider than WIDE: as many as take at most MOST_BYTES, and two at least
MOST_BYTES = 2**31


def has_own_sums(widths: Sequence[int]) -> bool:
    """Whether sums of single units are kept in more folds than products."""
    return folds_of(widths) < FOLDS


def folds_of(widths: Sequence[int]) -> int:
    """Into how many folds the products of a layer are kept whose networks have ``widths`` units."""
    if max(widths) <= WIDE:
        return FOLDS
    return next((folds for folds in FEWER if folds * gram_bytes(widths) <= MOST_BYTES), FEWER[-1])
