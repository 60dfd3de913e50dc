"""From values and what chance gives in their place to p-values, and from many p-values to discoveries."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats

FALSE_DISCOVERIES = 0.05  # rate at which a partner counts


def pooled_p_values(values: ArrayLike, null: ArrayLike) -> Floats:
    """(S,): how often chance gives as much as ``values`` (S,), from K draws of chance for each, ``null`` (K, S).

    K draws of one unit are too few for a small p-value, so units are pooled, each in units of its own mean null: p =
    (1 + number of null ratios at least as large) / (1 + K·S), which is never 0 (Phipson & Smyth, 2010). A draw is
    compared with the mean of the unit's other draws, as a value is with draws that it is no part of. NaN where a value
    is.

    Raises ValueError for fewer than two draws.
    """
    found, draws = np.asarray(values, dtype=np.float64), np.asarray(null, dtype=np.float64)
    if draws.ndim != 2 or draws.shape[1:] != found.shape or len(draws) < 2:
        raise ValueError(f"values (S,) need a null (K, S) with K >= 2, found {found.shape} and {draws.shape}")
    live = ~np.isnan(found)
    draws, result = draws[:, live], np.full(len(found), np.nan)
    others = (draws.sum(0) - draws) / (len(draws) - 1)
    pool = np.sort((draws / others).ravel())
    as_large = len(pool) - np.searchsorted(pool, found[live] / draws.mean(0), side="left")
    result[live] = (1 + as_large) / (1 + len(pool))
    return result


def q_values(p_values: ArrayLike) -> Floats:
    """(S,): the smallest false discovery rate at which each unit is a discovery (Benjamini & Hochberg, 1995).

    Of the units with q at most .05, 5% are expected to be there by chance. NaN p-values are no part of it.
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    live = np.flatnonzero(~np.isnan(p))
    falling = live[np.argsort(-p[live], kind="stable")]
    ranks = np.arange(len(falling), 0, -1)
    q[falling] = np.minimum.accumulate(np.minimum(p[falling] * len(falling) / ranks, 1))
    return q
