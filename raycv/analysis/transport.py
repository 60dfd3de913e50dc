"""Exact optimal transport between two finite sets: the plan that moves mass with the largest similarity."""

from __future__ import annotations

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.extras import needed

with needed():
    from scipy.optimize import linear_sum_assignment

PIVOTS = 10**7  # at most, far more than are needed
ROUNDING = 1e-9  # of a gain, relative to the range of similarities


def uniform_plan(similarity: Floats) -> Floats:
    """Find the plan between two sets of equally heavy members with the largest total similarity.

    For m = n it is a permutation divided by n (Birkhoff, 1946), otherwise `transport` finds it.

    Parameters
    ----------
    similarity : ndarray of shape (m, n)
        Finite.

    Returns
    -------
    ndarray of shape (m, n)
        P with row sums 1/m and column sums 1/n that maximises Σ P_ij similarity_ij.

    Raises
    ------
    ValueError
        For similarities that are not finite, and for none.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import uniform_plan
    >>> uniform_plan(np.array([[0.9, 0.8], [0.8, 0.1]])).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """
    m, n = _shape(similarity)
    if m == n:
        plan = np.zeros((m, n))
        plan[linear_sum_assignment(similarity, maximize=True)] = 1 / n
        return plan
    return transport(similarity, np.full(m, 1 / m), np.full(n, 1 / n))


def partial_plan(similarity: Floats, mass: float) -> Floats:
    """Find the plan that moves a part of the mass with the largest total similarity.

    Unmatched mass goes to an extra row and column of similarity 0 (Chapel, Alaya & Gasso, 2020).

    Parameters
    ----------
    similarity : ndarray of shape (m, n)
        Finite.
    mass : float
        The part that is matched, above 0 and at most 1.

    Returns
    -------
    ndarray of shape (m, n)
        P with total ``mass``, row sums <= 1/m and column sums <= 1/n that maximises Σ P_ij similarity_ij.

    Raises
    ------
    ValueError
        For another mass, for similarities that are not finite, and for none.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import partial_plan
    >>> partial_plan(np.diag([0.9, 0.1]), 0.5).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    if not 0 < mass <= 1:
        raise ValueError(f"mass is {mass}; it must be above 0 and at most 1, the part that is matched")
    m, n = _shape(similarity)
    if mass == 1:
        return uniform_plan(similarity)
    wider = np.zeros((m + 1, n + 1))
    wider[:m, :n] = similarity
    wider[m, n] = -2 * np.abs(similarity).max() - 1  # nothing goes from nowhere to nowhere
    rest = 1 - mass
    return transport(wider, np.append(np.full(m, 1 / m), rest), np.append(np.full(n, 1 / n), rest))[:m, :n]


def transport(similarity: Floats, rows: Floats, columns: Floats) -> Floats:
    """Find the plan between two sets of given weights with the largest total similarity.

    By the network simplex of POT (Flamary et al., 2021; Bonneel et al., 2011), which loads PyTorch where that is
    installed.

    Parameters
    ----------
    similarity : ndarray of shape (m, n)
        Finite.
    rows : ndarray of shape (m,)
        The mass of every row, 0 or more.
    columns : ndarray of shape (n,)
        The mass of every column, of the same total.

    Returns
    -------
    ndarray of shape (m, n)
        P with these sums that maximises Σ P_ij similarity_ij.

    Raises
    ------
    ValueError
        For similarities that are not finite or for none, and for masses that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis.transport import transport
    >>> transport(np.array([[1.0, 0.0], [0.5, 0.0]]), np.array([0.5, 0.5]), np.array([0.75, 0.25])).tolist()
    [[0.5, 0.0], [0.25, 0.25]]
    """
    m, n = _shape(similarity)
    if rows.shape != (m,) or columns.shape != (n,) or abs(rows.sum() - columns.sum()) > ROUNDING * rows.sum():
        raise ValueError(f"rows ({m},) and columns ({n},) must have the same total, found {rows} and {columns}")
    with needed():
        import ot

    plan, solved = ot.emd(rows, columns, -similarity, numItermax=PIVOTS, log=True)
    if solved["warning"]:
        raise ArithmeticError(f"the transport problem was not solved: {solved['warning']}")
    return np.asarray(plan)


def _shape(similarity: Floats) -> tuple[int, int]:
    if similarity.ndim != 2 or not similarity.size or not np.isfinite(similarity).all():
        raise ValueError(f"similarities are a matrix of finite numbers, found one of shape {similarity.shape}")
    return similarity.shape[0], similarity.shape[1]
