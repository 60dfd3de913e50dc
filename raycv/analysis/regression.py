"""How much of the units of one network all units of another predict together, from correlations or covariances."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from raycv.analysis.arrays import Floats


def linear_r2(source: ArrayLike, cross: ArrayLike, target_variance: ArrayLike = 1.0) -> Floats:
    """(S_b,): R² = cᵀ Σ⁺ c / variance of least squares of every target unit on all source units, between 0 and 1.

    ``source`` Σ (S_a, S_a) and ``cross`` (S_a, S_b), whose columns are the c, are correlations, or covariances with
    ``target_variance`` (S_b,). Dead source units are left out; NaN for dead target units. Directions of the source that
    rounding cannot tell from constant ones predict nothing (see ``whitening``).
    """
    within, between = np.asarray(source, dtype=np.float64), np.asarray(cross, dtype=np.float64)
    sources = np.flatnonzero(~np.isnan(np.diagonal(within)))
    between = between[sources]
    targets = ~np.isnan(between).all(0) if len(sources) else np.zeros(between.shape[1], dtype=bool)
    r2 = np.full(between.shape[1], np.nan)
    scores = whitening(within[np.ix_(sources, sources)]).T @ between[:, targets]
    variance = np.broadcast_to(np.asarray(target_variance, dtype=np.float64), r2.shape)[targets]
    r2[targets] = np.clip((scores**2).sum(0) / variance, 0, 1)
    return r2


def whitening(covariance: Floats) -> Floats:
    """W (S, d) with Wᵀ Σ W = 1 and W Wᵀ = Σ⁺, Σ being ``covariance`` (S, S) and d its rank.

    Its columns are the principal directions, largest first, over their standard deviations. Eigenvalues up to S·ε times
    the largest, and up to the size of the most negative one, are taken for rounding and left out, as in
    `raycv.analysis.lasso.make_problem`.
    """
    if not len(covariance):
        return np.zeros((0, 0))
    values, vectors = eigh((covariance + covariance.T) / 2)
    kept = np.flatnonzero(values > max(len(values) * np.finfo(np.float64).eps * values[-1], -values[0]))[::-1]
    whitened: Floats = vectors[:, kept] / np.sqrt(values[kept])
    return whitened
