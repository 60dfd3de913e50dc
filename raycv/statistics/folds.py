"""The moments of one layer, kept fold by fold so that any fold of the images can be left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from raycv.statistics.moments import AddedWhenAsked, Diagonal, JointMoments, correlation, merge, offsets, variance

RARE = 0.5  # of its variance: a unit that keeps less without some one fold is rare


@dataclass(frozen=True)
class LayerStatistics:
    """The moments of one layer over all images, and without each fold."""

    folds: tuple[JointMoments, ...]

    @property
    def all(self) -> JointMoments:
        """The moments over all images."""
        return reduce(merge, self.folds)

    @property
    def together(self) -> JointMoments:
        """The same as ``all``, whose products are added when they are asked for: kept, they take as much as a fold."""
        return reduce(merge, map(_added_when_asked, self.folds))

    @property
    def sums(self) -> LayerStatistics:
        """The same without products of two units: enough for means and variances."""
        return LayerStatistics(tuple(_diagonal(fold) for fold in self.folds))

    def without_each(self) -> Iterator[JointMoments]:
        """For each fold, the moments over the images of all other folds; none if there is only one fold."""
        if len(self.folds) > 1:
            for fold in self.folds:
                yield reduce(merge, [other for other in self.folds if other is not fold])

    def fits(self) -> Iterator[JointMoments]:
        """What a fit is made from that is judged on each fold: ``without_each``, or all images if there is one fold."""
        return self.without_each() if len(self.folds) > 1 else iter([self.all])

    def dead(self) -> np.ndarray:
        """(U,): units that are constant once some one fold is left out; their correlations would rest on that fold."""
        return np.asarray(np.any([part.minimum == part.maximum for part in self.sums.fits()], axis=0))

    def kept_variance(self) -> np.ndarray:
        """(U,): the smallest fraction of each stacked unit's variance that is left when some one fold is left out.

        About 1 for a unit that fires all over; small for one that fires in a few images of one fold, whose z-scores
        there, in units of the deviation elsewhere, are huge. 1 where there is one fold, NaN for constant units.
        """
        sums = self.sums
        whole = variance(sums.all)
        kept = np.min([variance(part) for part in sums.fits()], axis=0)
        return np.asarray(kept / np.where(whole > 0, whole, np.nan))

    def rare(self) -> np.ndarray:
        """(U,): units, none of them dead, whose variance rests on one fold: a fit without it hardly sees them."""
        return np.asarray(self.left_out() & ~self.dead())

    def left_out(self) -> np.ndarray:
        """(U,): dead and rare units. They keep row and number, but take no part in averages, mapping layers or graphs.

        Hand them to ``correlations`` in the place of dead units: theirs become NaN.
        """
        return ~(self.kept_variance() >= RARE)  # a dead unit keeps nothing, or NaN


def _diagonal(moments: JointMoments) -> JointMoments:
    """The same without products of two units."""
    networks = range(len(moments.widths))
    return replace(moments, blocks={(n, n): Diagonal(moments.blocks[n, n].diagonal()) for n in networks})


def _added_when_asked(moments: JointMoments) -> JointMoments:
    """The same, to be merged without adding products."""
    return replace(moments, blocks={pair: AddedWhenAsked((block,)) for pair, block in moments.blocks.items()})


def correlations(moments: JointMoments, dead: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Correlation (S_a, S_b) of every pair of networks a <= b, NaN for the stacked units (U,) that are dead."""
    networks = range(len(moments.widths))
    return {(a, b): correlation_of(moments, dead, a, b) for a in networks for b in networks if a <= b}


def correlation_of(moments: JointMoments, dead: np.ndarray, a: int, b: int) -> np.ndarray:
    """Correlation (S_a, S_b) of network a's units with network b's, NaN for the stacked units (U,) that are dead."""
    bounds = offsets(moments.widths)
    found = correlation(moments, a, b)
    found[dead[bounds[a] : bounds[a + 1]]] = np.nan
    found[:, dead[bounds[b] : bounds[b + 1]]] = np.nan
    return found
