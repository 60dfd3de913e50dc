"""How much of the units of one network all units of another predict together, from correlations or covariances."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats
from raycv.extras import needed


def linear_r2(source: ArrayLike, cross: ArrayLike, target_variance: ArrayLike = 1.0) -> Floats:
    """Compute how much of every target unit least squares on all source units predicts, R² = cᵀ Σ⁺ c / variance.

    Parameters
    ----------
    source : array_like of shape (S_a, S_a)
        Σ: correlations of source units, or covariances. Dead units, NaN, are left out; directions that rounding cannot
        tell from constant ones predict nothing.
    cross : array_like of shape (S_a, S_b)
        Correlations, or covariances, of source units with target units; the columns are the c.
    target_variance : array_like of shape (S_b,), default 1.0
        Of target units, where covariances are given.

    Returns
    -------
    ndarray of shape (S_b,)
        Between 0 and 1; NaN for dead target units.

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import linear_r2
    >>> linear_r2(np.eye(2), np.array([[0.6, 0.0], [0.8, 0.5]])).round(6).tolist()
    [1.0, 0.25]
    """
    within, between = np.asarray(source, dtype=np.float64), np.asarray(cross, dtype=np.float64)
    if within.ndim != 2 or between.ndim != 2 or within.shape != (len(between), len(between)):
        raise ValueError(f"source must be (S_a, S_a) and cross (S_a, S_b), found {within.shape} and {between.shape}")
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
    with needed():
        from scipy.linalg import eigh

    values, vectors = eigh((covariance + covariance.T) / 2)
    kept = np.flatnonzero(values > max(len(values) * np.finfo(np.float64).eps * values[-1], -values[0]))[::-1]
    whitened: Floats = vectors[:, kept] / np.sqrt(values[kept])
    return whitened
