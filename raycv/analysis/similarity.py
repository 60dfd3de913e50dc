"""Similarity of two units, and confidence intervals of averages over units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit


def correlation(samples_a: ArrayLike, samples_b: ArrayLike) -> np.ndarray:
    """Pearson correlation (S_a, S_b) of paired samples (n, S_a) and (n, S_b); NaN for constant units.

    Paper, section 2. Equals the off-diagonal block of ``numpy.corrcoef``. Raises ValueError where the numbers of
    samples differ or there are fewer than two.
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
    """A 95% confidence interval; both ends are NaN if it is not defined."""

    low: float
    high: float


def jackknife(estimate: float, without_each: ArrayLike) -> Interval:
    """The delete-one-group jackknife interval around ``estimate``.

    ``without_each`` (g,) holds the same statistic computed without each of g groups of the data. The standard error
    is sqrt((g-1)/g · Σ (θ_i - mean θ)²) (Efron & Tibshirani, 1993, chapter 11). The interval uses Student's t with
    g - 1 degrees of freedom. NaN if a replicate is NaN, or if there is only one group.
    """
    replicates = np.asarray(without_each, dtype=np.float64)
    groups = len(replicates)
    if groups < 2:
        return Interval(float("nan"), float("nan"))
    error = np.sqrt((groups - 1) / groups * ((replicates - replicates.mean()) ** 2).sum())
    half = float(stdtrit(groups - 1, 0.975) * error)
    return Interval(estimate - half, estimate + half)
