"""One-to-one alignments of the units of two networks (paper, section 3.1).

Entry (i, j) of a similarity matrix (S_a, S_b) says how alike unit i of one network and unit j of another are. NaN
marks undefined entries, such as the row or column of a dead unit; they are never matched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from raycv.extras import needed


@dataclass(frozen=True)
class Matching:
    """The partner of every unit of a.

    Attributes
    ----------
    columns : ndarray of shape (S_a,), int64
        The number of its unit of b, -1 where it has none.
    values : ndarray of shape (S_a,)
        Their similarity, NaN where there is none.

    Examples
    --------
    >>> from raycv.analysis import semi_matching
    >>> found = semi_matching([[0.1, 0.9], [0.8, 0.2]])
    >>> found.columns.tolist(), found.values.tolist()
    ([1, 0], [0.9, 0.8])
    """

    columns: np.ndarray
    values: np.ndarray


def semi_matching(similarity: ArrayLike) -> Matching:
    """Match each row to its most similar column; several rows may share a column.

    The paper's bipartite semi-matching (section 3.1; Lawler, 1976). Ties: the lowest column.

    Parameters
    ----------
    similarity : array_like of shape (S_a, S_b)
        Any similarity, such as correlations or their absolute values; NaN marks undefined entries, which are never
        matched.

    Returns
    -------
    Matching
        A row of NaN, as that of a dead unit, has no partner.

    Raises
    ------
    ValueError
        Where ``similarity`` is not a matrix or has infinite entries.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import semi_matching
    >>> semi_matching([[0.9, 0.1], [0.8, 0.2], [np.nan, np.nan]]).columns.tolist()
    [0, 0, -1]
    """
    matrix = _matrix(similarity)
    usable = np.where(np.isnan(matrix), -np.inf, matrix)
    columns = np.full(len(matrix), -1, dtype=np.int64)
    if matrix.shape[1]:
        columns = np.where(np.isnan(matrix).all(1), -1, usable.argmax(1)).astype(np.int64)
    return _matching(matrix, columns)


def bipartite_matching(similarity: ArrayLike) -> Matching:
    """Assign rows to distinct columns so that the sum of similarities is largest.

    The paper's matching (section 3.1), by ``scipy.optimize.linear_sum_assignment``.

    Parameters
    ----------
    similarity : array_like of shape (S_a, S_b)
        As in `semi_matching`.

    Returns
    -------
    Matching
        In a rectangular matrix the surplus rows have no partner. A pair whose similarity is NaN is no pair.

    Raises
    ------
    ValueError
        Where ``similarity`` is not a matrix or has infinite entries.

    Examples
    --------
    >>> from raycv.analysis import bipartite_matching
    >>> bipartite_matching([[0.9, 0.8], [0.8, 0.1], [0.3, 0.2]]).columns.tolist()
    [1, 0, -1]
    """
    matrix = _matrix(similarity)
    undefined = np.isnan(matrix)
    rows, cols = np.flatnonzero(~undefined.all(1)), np.flatnonzero(~undefined.all(0))
    columns = np.full(len(matrix), -1, dtype=np.int64)
    if rows.size and cols.size:
        with needed():
            from scipy.optimize import linear_sum_assignment

        kept = matrix[np.ix_(rows, cols)]
        # A single undefined entry costs more than any assignment can gain, so it is used only where nothing else is.
        worst = np.nanmin(kept) - (np.nanmax(kept) - np.nanmin(kept) + 1) * min(kept.shape)
        kept[np.isnan(kept)] = worst
        chosen_rows, chosen_cols = linear_sum_assignment(kept, maximize=True)
        columns[rows[chosen_rows]] = cols[chosen_cols]
        found = columns >= 0
        columns[found] = np.where(undefined[np.flatnonzero(found), columns[found]], -1, columns[found])
    return _matching(matrix, columns)


def inverse(matching: Matching, units: int) -> Matching:
    """The same one-to-one pairs seen from the other side, which has ``units`` units."""
    columns = np.full(units, -1, dtype=np.int64)
    values = np.full(units, np.nan)
    rows = np.flatnonzero(matching.columns >= 0)
    columns[matching.columns[rows]] = rows
    values[matching.columns[rows]] = matching.values[rows]
    return Matching(columns, values)


def agreement(a: Matching, b: Matching) -> float:
    """Compute the fraction of rows with the same partner in two matchings.

    Parameters
    ----------
    a, b : Matching
        Of the same rows.

    Returns
    -------
    float
        Of the rows that have a partner in both; NaN if there are none.

    Raises
    ------
    ValueError
        For matchings of different numbers of rows.

    Examples
    --------
    >>> from raycv.analysis import agreement, bipartite_matching, semi_matching
    >>> similarity = [[0.9, 0.8], [0.8, 0.1]]
    >>> agreement(semi_matching(similarity), bipartite_matching(similarity))
    0.5
    """
    if a.columns.shape != b.columns.shape:
        raise ValueError(f"the matchings are of {len(a.columns)} and {len(b.columns)} rows; compare those of the same")
    both = (a.columns >= 0) & (b.columns >= 0)
    return float((a.columns == b.columns)[both].mean()) if both.any() else float("nan")


def _matrix(similarity: ArrayLike) -> np.ndarray:
    matrix = np.asarray(similarity, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"a similarity matrix has two axes (S_a, S_b), found shape {matrix.shape}")
    if np.isinf(matrix).any():
        raise ValueError("a similarity matrix must be finite (NaN where undefined), found infinite entries")
    return matrix


def _matching(matrix: np.ndarray, columns: np.ndarray) -> Matching:
    values = np.full(len(matrix), np.nan)
    found = np.flatnonzero(columns >= 0)
    values[found] = matrix[found, columns[found]]
    return Matching(columns, values)
