"""How much a value grows with the settings of several samples of networks, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from raycv.analysis.arrays import Floats
from raycv.analysis.similarity import Interval

UNDEFINED = Interval(float("nan"), float("nan"))


def slopes(regressors: ArrayLike, values: ArrayLike) -> Floats:
    """(R,): least-squares slopes of ``values`` (C,) against all ``regressors`` (C, R) at once, with an intercept.

    With one regressor that is ``numpy.polyfit`` of degree 1. NaN where a value is. Raises ValueError where the
    regressors, with the intercept, are not independent.
    """
    x, y = np.asarray(regressors, dtype=np.float64), np.asarray(values, dtype=np.float64)
    centred = x - x.mean(0)
    if np.linalg.matrix_rank(centred) < centred.shape[1]:
        raise ValueError(f"{centred.shape[1]} slopes need regressors that vary independently of each other")
    found: Floats = np.linalg.pinv(centred) @ (y - y.mean())
    return found


def stratified_jackknife(
    values: ArrayLike, without_each: Sequence[ArrayLike], statistic: Callable[[Floats], float]
) -> Interval:
    """95% around ``statistic(values)``, where each of ``values`` (C,) is of an independent sample of its own.

    ``without_each`` holds for sample c (K_c,) replicates: its value without each of its K_c members. With θ_ci the
    statistic where replicate i stands for value c, the variance is Σ_c v_c with
    v_c = (K_c-1)/K_c · Σ_i (θ_ci - mean_i θ_ci)² (the stratified jackknife; Rust & Rao, 1996). The interval uses
    Student's t with Satterthwaite's (1946) degrees of freedom, (Σ v_c)² / Σ v_c²/(K_c-1). For one sample it is
    `raycv.analysis.similarity.jackknife`. NaN where a sample has fewer than three members, or a value is NaN.
    """
    found = np.asarray(values, dtype=np.float64)
    samples = [np.asarray(replicates, dtype=np.float64) for replicates in without_each]
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
