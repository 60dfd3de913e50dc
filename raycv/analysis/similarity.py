"""Similarity of two units, and confidence intervals of averages over units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from raycv.extras import needed


def correlation(samples_a: ArrayLike, samples_b: ArrayLike) -> np.ndarray:
    """Correlate the units of two networks in paired samples (Pearson; paper, section 2).

    Equals the off-diagonal block of ``numpy.corrcoef``.

    Parameters
    ----------
    samples_a : array_like of shape (n, S_a)
        Activations; a sample is an image and, in a convolutional layer, a position.
    samples_b : array_like of shape (n, S_b)
        Activations in the same samples.

    Returns
    -------
    ndarray of shape (S_a, S_b), float64
        From -1 to 1; NaN in the row or column of a unit that is constant, or NaN in some sample.

    Raises
    ------
    ValueError
        Where the numbers of samples differ or there are fewer than two.

    Examples
    --------
    >>> from raycv.analysis import correlation
    >>> correlation([[1, 0], [2, 0], [3, 0]], [[6], [4], [2]]).round(6).tolist()
    [[-1.0], [nan]]
    """
    a, b = np.asarray(samples_a, dtype=np.float64), np.asarray(samples_b, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or len(a) < 2:
        raise ValueError(f"paired samples have shapes (n, S_a) and (n, S_b) with n >= 2, found {a.shape} and {b.shape}")
    za, zb = _standardised(a), _standardised(b)
    result: np.ndarray = np.clip(za.T @ zb / len(a), -1, 1)
    return result


def _standardised(samples: np.ndarray) -> np.ndarray:
    centred = samples - samples.mean(0)
    spread = np.where(np.ptp(samples, axis=0) > 0, centred.std(0), np.nan)
    standardised: np.ndarray = centred / spread
    return standardised


@dataclass(frozen=True)
class Interval:
    """A 95% confidence interval; both ends are NaN if it is not defined.

    Attributes
    ----------
    low, high : float
        Its ends.

    Examples
    --------
    >>> from raycv.analysis import jackknife
    >>> jackknife(1.0, [1.0, 1.0])
    Interval(low=1.0, high=1.0)
    """

    low: float
    high: float


def mean_over_networks(values: Mapping[tuple[int, int], float], *, units: int | None = None) -> tuple[float, Interval]:
    """The mean of ``values`` of pairs of networks, and its interval over the networks.

    Each replicate is the mean over the pairs without one network, so that pairs that share a network count as what they
    are: not independent. Student's t has as many degrees of freedom as there are networks, less one. It covers the
    choice of networks, and is wide for few of them; NaN for fewer than three. ``units``: as of ``jackknife``.
    """
    networks = sorted({n for pair in values for n in pair})
    mean = float(np.mean(list(values.values())))
    rest = [[value for pair, value in values.items() if n not in pair] for n in networks] if len(networks) > 2 else []
    return mean, jackknife(mean, [np.mean(of_rest) for of_rest in rest], units=units)


def jackknife(estimate: float, without_each: ArrayLike, *, units: int | None = None) -> Interval:
    """Compute the delete-one-group jackknife interval around an estimate.

    The standard error is sqrt((g-1)/g · Σ (θ_i - mean θ)²) (Efron & Tibshirani, 1993, chapter 11); the interval uses
    Student's t with g - 1 degrees of freedom.

    Parameters
    ----------
    estimate : float
        The statistic of all data.
    without_each : array_like of shape (g,)
        The same statistic computed without each of g groups of the data.
    units : int, optional
        Of how many units ``estimate`` is a share. Then all is done to the log-odds of (share · units + 1/2) / (units +
        1), so that the interval lies between 0 and 1 and has a length at either end, too.

    Returns
    -------
    Interval
        Of 95%; NaN if a replicate is NaN, or if there is only one group.

    Raises
    ------
    ValueError
        Where ``without_each`` is not a list of numbers.

    Examples
    --------
    >>> from raycv.analysis import jackknife
    >>> found = jackknife(0.5, [0.45, 0.5, 0.55])
    >>> round(found.low, 3), round(found.high, 3)
    (0.252, 0.748)
    """
    if units is not None:
        return _of_share(estimate, np.asarray(without_each, dtype=np.float64), units)
    replicates = np.asarray(without_each, dtype=np.float64)
    if replicates.ndim != 1:
        raise ValueError(f"without_each holds one number for each group (g,), found shape {replicates.shape}")
    groups = len(replicates)
    if groups < 2:
        return Interval(float("nan"), float("nan"))
    with needed():
        from scipy.special import stdtrit

    error = np.sqrt((groups - 1) / groups * ((replicates - replicates.mean()) ** 2).sum())
    half = float(stdtrit(groups - 1, 0.975) * error)
    return Interval(estimate - half, estimate + half)


def _of_share(share: float, without_each: np.ndarray, units: int) -> Interval:
    with needed():
        from scipy.special import expit, logit

    one = logit((share * units + 0.5) / (units + 1))
    found = jackknife(float(one), logit((np.clip(without_each, 0, 1) * units + 0.5) / (units + 1)))
    low, high = ((expit(end) * (units + 1) - 0.5) / units for end in (found.low, found.high))
    return Interval(float(np.clip(low, 0, share)), float(np.clip(high, share, 1)))
