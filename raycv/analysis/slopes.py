"""How much a value grows with the settings of several samples of networks, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats
from raycv.analysis.similarity import Interval
from raycv.extras import needed

with needed():
    from scipy.special import stdtrit

UNDEFINED = Interval(float("nan"), float("nan"))


def slopes(regressors: ArrayLike, values: ArrayLike) -> Floats:
    """Fit least-squares slopes of values against several regressors at once, with an intercept.

    With one regressor that is ``numpy.polyfit`` of degree 1.

    Parameters
    ----------
    regressors : array_like of shape (C, R)
        Such as the logarithms of width and of the number of training images.
    values : array_like of shape (C,)
        What is measured at each.

    Returns
    -------
    ndarray of shape (R,)
        NaN where a value is.

    Raises
    ------
    ValueError
        Where the regressors, with the intercept, are not independent, and for shapes that do not fit.

    Examples
    --------
    >>> from raycv.analysis.slopes import slopes
    >>> slopes([[0, 0], [1, 0], [0, 1], [1, 1]], [5, 7, 4, 6]).round(6).tolist()
    [2.0, -1.0]
    """
    x, y = np.asarray(regressors, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"regressors must be (C, R) and values (C,), found {x.shape} and {y.shape}")
    centred = x - x.mean(0)
    if np.linalg.matrix_rank(centred) < centred.shape[1]:
        raise ValueError(f"{centred.shape[1]} slopes need regressors that vary independently of each other")
    found: Floats = np.linalg.pinv(centred) @ (y - y.mean())
    return found


def stratified_jackknife(
    values: ArrayLike, without_each: Sequence[ArrayLike], statistic: Callable[[Floats], float]
) -> Interval:
    """Compute the jackknife interval of a statistic of values from independent samples.

    With θ_ci the statistic where replicate i stands for value c, the variance is Σ_c v_c with v_c = (K_c-1)/K_c · Σ_i
    (θ_ci - mean_i θ_ci)² (the stratified jackknife; Rust & Rao, 1996). The interval uses Student's t with
    Satterthwaite's (1946) degrees of freedom, (Σ v_c)² / Σ v_c²/(K_c-1). For one sample it is `jackknife`.

    Parameters
    ----------
    values : array_like of shape (C,)
        Each of an independent sample of its own.
    without_each : sequence of array_like of shape (K_c,)
        For sample c its value without each of its K_c members.
    statistic : callable
        Of C values, a number.

    Returns
    -------
    Interval
        95% around ``statistic(values)``; NaN where a sample has fewer than three members, or a value is NaN.

    Raises
    ------
    ValueError
        Unless there are replicates for every value.

    Examples
    --------
    >>> from raycv.analysis import stratified_jackknife
    >>> found = stratified_jackknife([1.0, 2.0], [[0.9, 1.0, 1.1], [1.9, 2.0, 2.1]], lambda of: of[1] - of[0])
    >>> round(float(found.low), 2), round(float(found.high), 2)
    (0.55, 1.45)
    """
    found = np.asarray(values, dtype=np.float64)
    samples = [np.asarray(replicates, dtype=np.float64) for replicates in without_each]
    if len(samples) != len(found):
        raise ValueError(f"there are {len(found)} values and replicates of {len(samples)}; give those of every value")
    if any(len(replicates) < 3 for replicates in samples):
        return UNDEFINED
    variances, freedoms = np.empty(len(found)), np.array([len(replicates) - 1 for replicates in samples])
    for place, replicates in enumerate(samples):
        exchanged = [statistic(np.where(np.arange(len(found)) == place, replicate, found)) for replicate in replicates]
        variances[place] = freedoms[place] * np.var(exchanged)
    estimate, variance = statistic(found), variances.sum()
    if not variance > 0:  # nothing varies, or something is NaN
        return Interval(estimate + 0 * variance, estimate + 0 * variance)
    half = float(stdtrit(variance**2 / (variances**2 / freedoms).sum(), 0.975) * np.sqrt(variance))
    return Interval(estimate - half, estimate + half)
