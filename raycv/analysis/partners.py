"""Which units have a partner in another network that a rotation of its units would not give by chance.

A unit is tested against rotations of those units of b that are *not yet taken*, going from the best pairs down. If
all of b were rotated for every test, as for the excess of a layer, a block of units that one network holds and the
other holds rotated would seem to have partners: rotated within the block, a unit is spread over fewer mixtures than
rotated over the whole layer, and its best correlation is higher. With half of a layer rotated, 30% of the "discoveries"
were such units where 5% were promised; going down, 3 to 5%.

Mixtures alone keep the rate only where units are as even as mixtures: of independent units that are active in .3 to 60%
of 2,000 samples 45% have "partners". So a unit's p-value is the largest of this one and of those that draws by chance
give (`raycv.analysis.draws`): with images paired at random, and with units mixed before their non-linearity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycv.analysis.arrays import Floats
from raycv.analysis.matching import Matching, semi_matching
from raycv.analysis.nulls import Rotated, rotated, rotations_for
from raycv.analysis.rotations import Rotations
from raycv.analysis.significance import FALSE_DISCOVERIES, Draws, pooled_p_values, q_values

if TYPE_CHECKING:
    import torch

STEP = 0.2  # of the units left, taken at a time: each step is at most a fifth too wide
FEWEST = 16  # units of b in a rotation: one of fewer is hardly a mixture, and its null is nearly 1


@dataclass(frozen=True)
class Partners:
    """For every unit of a the unit of b of largest absolute correlation, and whether chance would give as much.

    Attributes
    ----------
    columns : ndarray of shape (S_a,), int64
        Its number; -1 for dead units.
    values : ndarray of shape (S_a,)
        The absolute correlation; NaN for dead units, here and below.
    null : ndarray of shape (S_a,)
        The unit's mean null by rotations, of the units of b that were left when it was tested.
    p_values : ndarray of shape (S_a,)
        How often chance gives as much.
    q_values : ndarray of shape (S_a,)
        The smallest false discovery rate at which the partner counts.
    whole : Rotated
        The null of the whole layer, with which testing begins.
    chance : tuple of Draws
        The other draws tested against.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation
    >>> from raycv.analysis.partners import partners
    >>> rng = np.random.default_rng(0)
    >>> b = rng.standard_normal((500, 30))
    >>> a = np.hstack([b[:, :10] + rng.standard_normal((500, 10)), rng.standard_normal((500, 20))])
    >>> found = partners(correlation(a, b), correlation(b, b))
    >>> bool(found.found()[:10].all()), bool((found.excess[:10] > 0.3).all())
    (True, True)
    """

    columns: NDArray[np.int64]
    values: Floats
    null: Floats
    p_values: Floats
    q_values: Floats
    whole: Rotated
    chance: tuple[Draws, ...] = ()

    @property
    def excess(self) -> Floats:
        """(S_a,): the best correlation over the whole layer's null, as `raycv.analysis.nulls.excess`."""
        return self.values - self.whole.unit_mean

    def found(self, false_discoveries: float = FALSE_DISCOVERIES) -> NDArray[np.bool_]:
        """Say which units have a partner that counts.

        Parameters
        ----------
        false_discoveries : float, default 0.05
            The rate of those that count by chance among all that count.

        Returns
        -------
        ndarray of shape (S_a,), bool
            False for dead units.
        """
        return self.q_values <= false_discoveries


def partners(
    cross: ArrayLike,
    within: ArrayLike,
    *,
    chance: Sequence[Draws] | None = (),
    rotations: int | None = None,
    seed: int | Rotations = 0,
    whole: Rotated | None = None,
    device: torch.device | str | None = None,
) -> Partners:
    """Find the partners in b of a's units, and test each against mixtures of those units of b that are not yet taken.

    Step by step: the units of b not yet taken are rotated; every unit of a whose best unit is among them gets the
    p-value of that correlation; the fifth of the mutual best pairs that stands highest above the null is taken. It ends
    when no p-value left is below .05, or fewer than 16 units of b would be left: a rotated block smaller than that
    cannot be told from partners. In all this costs about two times as much as `rotated`.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        As in `rotated`.
    within : array_like of shape (S_b, S_b)
        As in `rotated`.
    chance : sequence of Draws, optional
        Draws of a's units that they are tested against as well, each with ``null`` (K, S_a); a unit of which they know
        nothing, as it does not vary in their samples, has a p-value of 1. Without any, the default, p-values say only
        that a mixture would not do as well, which few samples or units that seldom fire may do by accident. None: there
        are no draws where there should be some, and p-values are NaN.
    rotations : int, optional
        As in `rotated`.
    seed : int or Rotations, default 0
        Or rotations shared with others.
    whole : Rotated, optional
        What these give for the whole layer, where that is known already.
    device : torch.device or str, optional
        As in `rotated`.

    Returns
    -------
    Partners
        NaN and -1 for dead units.

    Raises
    ------
    ValueError
        As `rotated`.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation
    >>> from raycv.analysis.partners import partners
    >>> rng = np.random.default_rng(0)
    >>> b = rng.standard_normal((500, 30))
    >>> a = b[:, ::-1] + rng.standard_normal((500, 30))
    >>> found = partners(correlation(a, b), correlation(b, b))
    >>> found.columns[:3].tolist(), bool(found.q_values.max() < 0.05)
    ([29, 28, 27], True)
    """
    sizes = np.abs(np.asarray(cross, dtype=np.float64))
    within = np.asarray(within, dtype=np.float64)
    best = semi_matching(sizes)
    source = seed if isinstance(seed, Rotations) else np.random.default_rng(seed)
    count = rotations_for(len(within)) if rotations is None else rotations
    rows = np.arange(len(sizes))
    columns = np.flatnonzero(~np.isnan(np.diagonal(within)))
    null, p_values = np.full((2, len(sizes)), np.nan)
    drawn = whole.of(rows) if whole else None
    while True:
        here = np.ix_(rows, columns)
        drawn = drawn or rotated(
            np.asarray(cross)[here], within[np.ix_(columns, columns)], rotations=count, seed=source, device=device
        )
        whole = whole or drawn
        pairs = semi_matching(sizes[here])
        null[rows], p_values[rows] = drawn.unit_mean, pooled_p_values(pairs.values, drawn.values)
        taken = pairs.columns[_highest(sizes[here], pairs, null[rows])]
        if len(columns) - len(taken) < FEWEST or not (p_values[rows] < FALSE_DISCOVERIES).any():
            break
        rows, columns, drawn = rows[~np.isin(pairs.columns, taken)], np.delete(columns, taken), None
    if chance is None:
        p_values[:] = np.nan
    elif chance:
        p_values = np.maximum(p_values, largest_p_values(chance))
    return Partners(best.columns, best.values, null, p_values, q_values(p_values), whole, tuple(chance or ()))


def largest_p_values(chance: Sequence[Draws]) -> Floats:
    """(S_a,): the largest of the p-values by each of the ``chance`` draws; 1 for a unit of which one knows nothing."""
    by_draws = [np.nan_to_num(pooled_p_values(draws.values, draws.null), nan=1.0) for draws in chance]
    return np.asarray(np.max(by_draws, axis=0))


def _highest(sizes: Floats, pairs: Matching, null: Floats) -> NDArray[np.int64]:
    """The rows of the mutual best ``pairs`` of ``sizes`` (R, C) that stand highest above their ``null`` (R,)."""
    back = semi_matching(sizes.T).columns
    live = np.flatnonzero(pairs.columns >= 0)
    mutual = live[back[pairs.columns[live]] == live]
    above = pairs.values[mutual] / null[mutual]
    highest: NDArray[np.int64] = mutual[np.argsort(-above, kind="stable")]
    return highest[: max(1, int(STEP * sizes.shape[1]))]
