"""Neuron similarity graphs (paper, S.3.1): units as vertices, correlations above a threshold as edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.arrays import Floats


def combined_correlation(source: Floats, cross: Floats, target: Floats) -> Floats:
    """Put the correlations of two nets into one matrix, the paper's W_l (S.3.2).

    Parameters
    ----------
    source : ndarray of shape (S_a, S_a)
        Within the source net.
    cross : ndarray of shape (S_a, S_b)
        Of source units with target units.
    target : ndarray of shape (S_b, S_b)
        Within the target net.

    Returns
    -------
    ndarray of shape (S_a + S_b, S_a + S_b)
        [[source, cross], [crossᵀ, target]]: unit i of the source net becomes vertex i, unit j of the target net vertex
        S_a + j.

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import combined_correlation
    >>> combined_correlation(np.eye(1), np.array([[0.5, 0.2]]), np.eye(2)).tolist()
    [[1.0, 0.5, 0.2], [0.5, 1.0, 0.0], [0.2, 0.0, 1.0]]
    """
    s_a, s_b = cross.shape
    if source.shape != (s_a, s_a) or target.shape != (s_b, s_b):
        raise ValueError(
            f"within-net correlations of shapes {source.shape} and {target.shape} do not fit between-net "
            f"correlations of shape {cross.shape}: give ({s_a}, {s_a}) and ({s_b}, {s_b})"
        )
    return np.block([[source, cross], [cross.T, target]])


def similarity_graph(correlation: NDArray[np.floating], threshold: float = 0.0) -> Floats:
    """Turn correlations into the edge weights of a graph whose vertices are units (paper, S.3.1).

    Two different units p and q are joined by an edge of weight c_pq if c_pq > ``threshold``. A net's own matrix gives
    the paper's single-net graph G_X; `combined_correlation` gives the combined graph G_X + G_Y + G_XY.

    Parameters
    ----------
    correlation : ndarray of shape (n, n)
        Symmetric to 1e-6; NaN in the rows and columns of dead units, which have no edge.
    threshold : float, default 0.0
        0 or more: the Laplacian needs weights of one sign.

    Returns
    -------
    ndarray of shape (n, n), float64
        Exactly symmetric, with zero diagonal.

    Raises
    ------
    ValueError
        For a matrix that is not square and symmetric, has infinite entries or NaN outside the rows and columns of dead
        units, and for a negative threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import similarity_graph
    >>> similarity_graph(np.array([[1.0, 0.4, -0.2], [0.4, 1.0, 0.1], [-0.2, 0.1, 1.0]]), threshold=0.2).tolist()
    [[0.0, 0.4, 0.0], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if correlation.ndim != 2 or correlation.shape[0] != correlation.shape[1]:
        raise ValueError(f"the correlation matrix must be square, got shape {correlation.shape}")
    missing = np.isnan(correlation)
    np.fill_diagonal(missing, True)
    dead = np.all(missing, axis=1)
    np.fill_diagonal(missing, False)
    _check_missing(missing, dead)
    for first in range(0, len(correlation), 1024):  # in strips, to save memory
        strip = slice(first, first + 1024)
        if not np.allclose(correlation[strip], correlation[:, strip].T, rtol=0, atol=1e-6, equal_nan=True):
            raise ValueError("the correlation matrix is not symmetric: give corr(p, q) = corr(q, p)")
    weights = _above(correlation, threshold)
    np.fill_diagonal(weights, 0.0)
    return np.maximum(weights, weights.T)  # exactly symmetric, even if rounding made the matrix only nearly so


def _check_missing(missing: NDArray[np.bool_], dead: NDArray[np.bool_]) -> None:
    stray = np.argwhere(missing[~dead][:, ~dead])
    if len(stray):
        row, column = np.flatnonzero(~dead)[stray[0]]
        raise ValueError(
            f"{len(stray)} correlations between live units are NaN, the first at ({row}, {column}): "
            "only the whole row and column of a dead unit may be NaN"
        )


def _above(correlation: NDArray[np.floating], threshold: float) -> Floats:
    if not threshold >= 0:
        raise ValueError(f"the threshold must be 0 or more, got {threshold}")
    if np.isinf(correlation).any():
        raise ValueError("the correlation matrix has infinite entries: give correlations, NaN for dead units")
    return np.where(correlation > threshold, correlation, 0.0).astype(np.float64, copy=False)
