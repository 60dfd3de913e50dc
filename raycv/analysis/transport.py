"""Exact optimal transport between two finite sets: the plan that moves mass with the largest similarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.arrays import Floats
from raycv.extras import needed

with needed():
    from scipy.optimize import linear_sum_assignment, linprog
    from scipy.sparse import coo_matrix

AT_ONCE = 8  # edges that a row or column gains at a time
ROUNDING = 1e-9  # of a gain, relative to the range of similarities


def uniform_plan(similarity: Floats) -> Floats:
    """Find the plan between two sets of equally heavy members with the largest total similarity.

    For m = n it is a permutation divided by n (Birkhoff, 1946), otherwise the solution of a linear program.

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
    if m == n and abs(mass * n - round(mass * n)) < ROUNDING:
        return _some_pairs(similarity, round(mass * n))
    wider = np.zeros((m + 1, n + 1))
    wider[:m, :n] = similarity
    wider[m, n] = -2 * np.abs(similarity).max() - 1  # nothing goes from nowhere to nowhere
    rest = 1 - mass
    return transport(wider, np.append(np.full(m, 1 / m), rest), np.append(np.full(n, 1 / n), rest))[:m, :n]


def _some_pairs(similarity: Floats, count: int) -> Floats:
    """P (n, n) with 1/n at the ``count`` one-to-one pairs of largest sum.

    An assignment in which n - count more rows and columns take what is not to be paired (Birkhoff, 1946: no plan of
    this mass does better).
    """
    n = len(similarity)
    wider = np.zeros((2 * n - count, 2 * n - count))
    wider[:n, :n] = similarity
    wider[n:, n:] = -np.abs(similarity).sum() - 1
    rows, columns = linear_sum_assignment(wider, maximize=True)
    pairs = (rows < n) & (columns < n)
    plan = np.zeros((n, n))
    plan[rows[pairs], columns[pairs]] = 1 / n
    return plan


def transport(similarity: Floats, rows: Floats, columns: Floats) -> Floats:
    """Find the plan between two sets of given weights with the largest total similarity, by a linear program (HiGHS).

    Few entries of P are not 0, so the program starts with few edges, the most similar ones of every row and column. It
    gains the edges that its prices u_i + v_j undervalue until there are none left; P is then optimal.

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
    edges = _northwest(rows, columns) | _most_similar(similarity)
    rounding = ROUNDING * max(float(np.ptp(similarity)), 1e-300)
    while True:
        i, j = np.nonzero(edges)
        numbers, one = np.arange(len(i)), np.ones(len(i))
        sums = coo_matrix(
            (np.concatenate([one, one]), (np.concatenate([i, m + j]), np.concatenate([numbers, numbers])))
        )
        masses = np.concatenate([rows, columns])
        solved = linprog(-similarity[i, j], A_eq=sums.tocsr(), b_eq=masses, method="highs")  # type: ignore[call-overload]
        if solved.status != 0:
            raise ArithmeticError(f"the transport problem was not solved: {solved.message}")
        prices = -solved.eqlin.marginals
        gains = similarity - prices[:m, None] - prices[m:]
        gains[edges] = 0
        if gains.max() <= rounding:
            plan = np.zeros((m, n))
            plan[i, j] = solved.x
            return plan
        edges |= _most_similar(gains) & (gains > rounding)


def _shape(similarity: Floats) -> tuple[int, int]:
    if similarity.ndim != 2 or not similarity.size or not np.isfinite(similarity).all():
        raise ValueError(f"similarities are a matrix of finite numbers, found one of shape {similarity.shape}")
    return similarity.shape[0], similarity.shape[1]


def _most_similar(similarity: Floats) -> NDArray[np.bool_]:
    """(m, n): the largest entries of every row and of every column."""
    chosen = np.zeros(similarity.shape, dtype=bool)
    for axis in (0, 1):
        count = min(AT_ONCE, similarity.shape[axis])
        largest = np.argpartition(-similarity, count - 1, axis=axis).take(np.arange(count), axis)
        np.put_along_axis(chosen, largest, True, axis)
    return chosen


def _northwest(rows: Floats, columns: Floats) -> NDArray[np.bool_]:
    """(m, n): the edges of one plan with the required sums, so that the first program has a solution."""
    edges = np.zeros((len(rows), len(columns)), dtype=bool)
    ends_i, ends_j = np.cumsum(rows), np.cumsum(columns)
    i = j = 0
    while i < len(rows) and j < len(columns):
        edges[i, j] = True
        if i + 1 < len(rows) and (ends_i[i] <= ends_j[j] or j + 1 == len(columns)):
            i += 1
        else:
            j += 1
    return edges
