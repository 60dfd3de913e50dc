"""From values and what chance gives in their place to p-values, and from many p-values to discoveries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats

FALSE_DISCOVERIES = 0.05  # rate at which a partner counts
HALF = 0.5  # p-values above it are taken for those of units without a partner
BELOW_ONE = 1 - 1e-9  # correlations of copies, on Fisher's scale
PRIOR = 10  # degrees of freedom that the mean variance over units has beside a unit's own
TIE = 1e-6  # on Fisher's scale, and in deviations: what is no more than rounding apart is the same


@dataclass(frozen=True)
class Draws:
    """The largest absolute correlation of each unit of a with a unit of b: ``values`` (S_a,), ``null`` (K, S_a).

    ``null`` is by chance, draw by draw, in the same samples. NaN for units of a that take no part.
    """

    values: Floats
    null: Floats


def pooled_p_values(values: ArrayLike, null: ArrayLike) -> Floats:
    """Compute how often chance gives as much as a value, from a few draws for each of many units.

    K draws of one unit are too few for a small p-value, so units are pooled: on Fisher's scale (arctanh), each less its
    own mean null and divided by its deviation (the variance drawn towards the mean of all units, as with 10 more
    draws), p = (1 + number of draws at least as large) / (1 + K·S), which is never 0 (Phipson & Smyth, 2010). A draw is
    compared with the unit's other draws, as a value is with draws that it is no part of.

    The p-values of all units together are those of chance, however different their nulls: where none has a partner, S·p
    of them are expected at or below p. So the rate of false discoveries holds, too, where units that seldom fire have
    longer tails than others.

    Parameters
    ----------
    values : array_like of shape (S,)
        Absolute correlations; NaN for units that take no part.
    null : array_like of shape (K, S)
        What chance gives in their place, K >= 3 draws.

    Returns
    -------
    ndarray of shape (S,)
        Above 0 and at most 1; NaN where a value is.

    Raises
    ------
    ValueError
        For fewer than three draws, and for shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import pooled_p_values
    >>> null = np.random.default_rng(0).uniform(0.1, 0.3, (20, 50))
    >>> float(pooled_p_values(np.append(0.9, null[0, 1:]), null)[0].round(6))  # 1 / 1001
    0.000999
    """
    found, draws = np.asarray(values, dtype=np.float64), np.asarray(null, dtype=np.float64)
    if draws.ndim != 2 or draws.shape[1:] != found.shape or len(draws) < 3:
        raise ValueError(f"values (S,) need a null (K, S) with K >= 3, found {found.shape} and {draws.shape}")
    live = ~np.isnan(found)
    result = np.full(len(found), np.nan)
    at, by_chance = (np.arctanh(np.clip(part, 0, BELOW_ONE)) for part in (found[live], draws[:, live]))
    count, mean = len(draws), by_chance.mean(0)
    squares = (by_chance - mean) ** 2
    of_all = PRIOR * squares.sum() / max(1, (count - 1) * live.sum())
    others = squares.sum(0) - squares * count / (count - 1)  # of the other draws around their own mean
    apart = (by_chance - mean) * count / (count - 1)
    pool = np.sort((apart / _spread(of_all + others, PRIOR + count - 2)).ravel())
    above = (at - mean) / _spread(of_all + squares.sum(0), PRIOR + count - 1)
    as_large = len(pool) - np.searchsorted(pool, above - TIE)
    result[live] = (1 + as_large) / (1 + len(pool))
    return result


def _spread(squares: Floats, freedom: int) -> Floats:
    """The deviation, of which a few draws that are alike by accident make none too small."""
    spread: Floats = np.sqrt(np.maximum(squares, 0) / freedom) + TIE
    return spread


def q_values(p_values: ArrayLike) -> Floats:
    """Turn p-values into false discovery rates (Benjamini & Hochberg, 1995).

    Parameters
    ----------
    p_values : array_like of shape (S,)
        From 0 to 1; NaN for units that take no part.

    Returns
    -------
    ndarray of shape (S,)
        The smallest rate at which each unit is a discovery: of the units with q at most .05, 5% are expected to be
        there by chance. NaN where the p-value is.

    Raises
    ------
    ValueError
        For p-values below 0 or above 1.

    Examples
    --------
    >>> from raycv.analysis import q_values
    >>> q_values([0.01, 0.02, 0.8, float("nan")]).round(3).tolist()
    [0.03, 0.03, 0.8, nan]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"p-values are from 0 to 1, found {np.nanmin(p):g} to {np.nanmax(p):g}")
    q = np.full(p.shape, np.nan)
    live = np.flatnonzero(~np.isnan(p))
    falling = live[np.argsort(-p[live], kind="stable")]
    ranks = np.arange(len(falling), 0, -1)
    q[falling] = np.minimum.accumulate(np.minimum(p[falling] * len(falling) / ranks, 1))
    return q


def estimated_share(p_values: ArrayLike) -> float:
    """The share of units that have a partner, whether or not they can be named (Storey, 2002); NaN where no p-value is.

    Of units without one, half have a p-value above 1/2; so 1 - 2 · (share of p-values above 1/2). It errs towards
    fewer, as units with a partner may have such a p-value, too; below 0 where p-values are larger than uniform ones, as
    largest of several are. A mean of several is not cut off at 0 one by one.
    """
    p = np.asarray(p_values, dtype=np.float64)
    known = p[~np.isnan(p)]
    return float(1 - (known > HALF).mean() / (1 - HALF)) if len(known) else float("nan")
