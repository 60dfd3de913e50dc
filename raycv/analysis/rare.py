"""Units whose variance rests on one fold of the images: a fit without it sees hardly any of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.arrays import Floats
from raycv.analysis.folds import LayerStatistics
from raycv.analysis.moments import variance

RARE = 0.5  # of the variance kept


def kept_variance(statistics: LayerStatistics) -> Floats:
    """(U,): the smallest fraction of each stacked unit's variance that is left when some one fold is left out.

    About 1 for a unit that fires all over; small for one that fires in a few images of one fold, whose z-scores there,
    in units of the deviation elsewhere, are huge. 1 where there is one fold, NaN for constant units.
    """
    whole = variance(statistics.all)
    parts = [variance(part) for part in statistics.without_each()] or [whole]
    kept: Floats = np.min(parts, axis=0) / np.where(whole > 0, whole, np.nan)
    return kept


def rare(statistics: LayerStatistics, below: float = RARE) -> NDArray[np.bool_]:
    """(U,): the stacked units, none of them dead, that keep less than ``below`` of their variance without some fold.

    They keep row and number, but take no part in averages and mapping layers.
    """
    return np.asarray((kept_variance(statistics) < below) & ~statistics.dead())
