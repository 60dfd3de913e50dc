"""In which order units can be removed from a layer, and how those that stay make up for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats, Ints
from raycv.analysis.mapping import lasso_path


def order_by(values: ArrayLike, *, highest_first: bool = False) -> Ints:
    """(S,): the units by their ``values`` (S,), the lowest first or the highest. A unit with NaN counts as lowest."""
    found = np.asarray(values, dtype=np.float64)
    found = np.where(np.isnan(found), -np.inf, found)
    return np.argsort(-found if highest_first else found, kind="stable").astype(np.int64)


def redundancy_order(correlation: ArrayLike) -> Ints:
    """Order units for greedy removal: next goes the one that the units still there predict best.

    With P the inverse of the correlations of the units still there, R² of unit i by the others is 1 − 1/P_ii; without
    unit i the inverse is P − P_·i P_i· / P_ii. A ridge of 1e-6 keeps P finite where units are linearly dependent.

    Parameters
    ----------
    correlation : array_like of shape (S, S)
        NaN in the rows and columns of dead units, which go first.

    Returns
    -------
    ndarray of shape (S,), int64
        Unit numbers, the first to go first.

    Raises
    ------
    ValueError
        For a matrix that is not square.

    Examples
    --------
    >>> from raycv.analysis import redundancy_order
    >>> redundancy_order([[1.0, 0.0, 0.9], [0.0, 1.0, 0.3], [0.9, 0.3, 1.0]]).tolist()[0]    # 2 is like 0, a bit like 1
    2
    """
    given = np.asarray(correlation, dtype=np.float64)
    if given.ndim != 2 or len(set(given.shape)) > 1:
        raise ValueError(f"correlations of a layer's units are square (S, S), found shape {given.shape}")
    live = np.flatnonzero(~np.isnan(np.diagonal(given)))
    within = given[np.ix_(live, live)]
    precision = np.linalg.inv((within + within.T) / 2 + 1e-6 * np.eye(len(live)))
    there = np.ones(len(live), dtype=bool)
    order = []
    for _ in live:
        unexplained = np.where(there, 1 / np.maximum(np.diagonal(precision), 1e-300), np.inf)
        least = int(unexplained.argmin())
        order.append(least)
        there[least] = False
        precision -= np.outer(precision[:, least], precision[least] / precision[least, least])
    dead = np.setdiff1d(np.arange(len(given)), live)
    return np.concatenate([dead, live[np.array(order, dtype=np.int64)]]).astype(np.int64)


@dataclass(frozen=True)
class Affine:
    """``weights`` (T, S) and ``offset`` (T,) that give the activations of T units from those of S others."""

    weights: np.ndarray
    offset: np.ndarray


def of_z_scores(
    weights: Floats, source_mean: Floats, source_std: Floats, target_mean: Floats, target_std: Floats
) -> Affine:
    """A mapping layer's ``weights`` (T, S) of z-scores as one of activations.

    Of units without deviation (NaN) a source has weight 0, and a target is its mean.
    """
    inverse = np.divide(1.0, source_std, out=np.zeros(len(source_std)), where=source_std > 0)
    raw = np.nan_to_num(target_std)[:, None] * weights * inverse
    return Affine(raw, target_mean - raw @ source_mean)


def compensation(mean: Floats, covariance: Floats, usable: np.ndarray, removed: np.ndarray) -> Affine:
    """Predict removed units from those that stay, by least squares: the mapping layer of decay 0 within one network.

    Parameters
    ----------
    mean : ndarray of shape (S,)
        Of the layer's activations.
    covariance : ndarray of shape (S, S)
        Of the layer's activations.
    usable : ndarray of shape (S,), bool
        Units that are not dead or rare; others predict nothing and get their mean.
    removed : ndarray of shape (R,), int
        Numbers of units.

    Returns
    -------
    Affine
        ``weights`` (R, S − R), of the other units in order, and ``offset`` (R,), in units of the activation.

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import compensation
    >>> x = np.random.default_rng(0).standard_normal((500, 2))
    >>> x = np.column_stack([x, 2 * x[:, 0] + 3])                # the third unit follows from the first
    >>> found = compensation(x.mean(0), np.cov(x, rowvar=False), np.ones(3, dtype=bool), np.array([2]))
    >>> (found.weights.round(6) + 0.0).tolist(), found.offset.round(6).tolist()
    ([[2.0, 0.0]], [3.0])
    """
    kept = np.setdiff1d(np.arange(len(mean)), removed)
    std = np.where(usable, np.sqrt(np.maximum(np.diagonal(covariance), 0)), np.nan)
    std[std == 0] = np.nan
    correlation = covariance / np.outer(std, std)
    (layer,) = lasso_path(correlation[np.ix_(kept, kept)], correlation[np.ix_(kept, removed)], [0.0])
    return of_z_scores(layer.weights, mean[kept], std[kept], mean[removed], std[removed])
