"""How much more alike pairs of networks of one kind are than those of another, with an interval over networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raycv.analysis.similarity import Interval, jackknife
from raycv.extras import needed

Pairs = Mapping[tuple[str, str], float]  # of every pair of networks, by their names


@dataclass(frozen=True)
class Contrast:
    """A difference of two means over pairs of networks, its 95% interval, and the p-value of there being none."""

    value: float
    interval: Interval
    p_value: float


def contrast(values: Pairs, reference: Pairs | None = None) -> Contrast:
    """Compare the mean over pairs of networks with that over other pairs, or with 0.

    Networks go by name in both: one that is left out is left out on both sides. So a network that both sides share
    counts once, as do networks that have their first weights or the order of their images in common; that networks of
    one name have something in common is allowed and need not be so. The standard error is that of `jackknife` over the
    names, and interval and p-value are from Student's t with one degree of freedom fewer than there are names.

    Parameters
    ----------
    values : mapping of pairs of names to float
        In one order or both.
    reference : mapping of pairs of names to float, optional
        Of the pairs that these are compared with; 0 if not given.

    Returns
    -------
    Contrast
        Interval and p-value are NaN for fewer than three names, where a side has no pair without some name, and where a
        value is NaN; the p-value also where nothing varies.

    Examples
    --------
    >>> from raycv.analysis.contrasts import contrast
    >>> pairs = [("net1", "net2"), ("net1", "net3"), ("net2", "net3")]
    >>> found = contrast(dict(zip(pairs, [0.5, 0.6, 0.7])), dict.fromkeys(pairs, 0.1))
    >>> round(found.value, 2), round(found.interval.low, 2), round(found.interval.high, 2), round(found.p_value, 2)
    (0.5, 0.25, 0.75, 0.01)
    """
    names = sorted({name for pair in (*values, *(reference or {})) for name in pair})
    value = _difference(values, reference, None)
    without = [_difference(values, reference, name) for name in names] if len(names) > 2 else []
    interval = jackknife(value, without)
    return Contrast(value, interval, _p_value(value, interval, len(names) - 1))


def _difference(values: Pairs, reference: Pairs | None, without: str | None) -> float:
    return _mean(values, without) - (0.0 if reference is None else _mean(reference, without))


def _mean(values: Pairs, without: str | None) -> float:
    """NaN where no pair is left."""
    kept = [value for pair, value in values.items() if without is None or without not in pair]
    return float(np.mean(kept)) if kept else math.nan


def _p_value(value: float, interval: Interval, freedom: int) -> float:
    half = (interval.high - interval.low) / 2
    if not half > 0:
        return math.nan
    with needed():
        from scipy.special import stdtr, stdtrit

    return float(2 * stdtr(freedom, -abs(value) / half * stdtrit(freedom, 0.975)))
