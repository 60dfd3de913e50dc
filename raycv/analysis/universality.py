"""Two published definitions of a universal unit, as their authors give them.

Both take the largest correlation with its sign, and neither asks how large it is by chance: `raycv.analysis.partners`
does (docs/language_models.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycv.analysis.arrays import Floats
from raycv.analysis.rotations import Rotations

UNIVERSAL = 0.5  # mean excess correlation above which a unit is universal (Gurnee et al., 2024)


def excess_correlation(
    cross: ArrayLike, covariance: ArrayLike, *, rotations: int = 1, seed: int | Rotations = 0
) -> Floats:
    """Compute by how much each unit's largest correlation is above that with b's units in a random basis.

    For unit i of a, with correlations ρ_ij to the units of b and ρ'_ij to the units of b after the activations of b are
    multiplied by a random orthonormal matrix: max over j of ρ_ij less max over j of ρ'_ij, with their signs. A unit is
    *universal* where the mean of this over other networks is above 0.5 (Gurnee et al., 2024, "Universal neurons in GPT2
    language models", with one rotation). `excess` takes absolute values and the larger of two nulls.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        Correlations, NaN in the rows and columns of dead units.
    covariance : array_like of shape (S_b, S_b)
        Covariances of b's units, NaN in the rows and columns of dead units, which are no part of the basis.
    rotations : int, default 1
        The second maximum is a mean over so many.
    seed : int or Rotations, default 0
        Fixes the rotations.

    Returns
    -------
    ndarray of shape (S_a,)
        NaN for dead units, and where b has no live unit.

    Raises
    ------
    ValueError
        For matrices whose shapes do not fit, and for less than one rotation.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, excess_correlation
    >>> x = np.random.default_rng(0).standard_normal((2000, 30))
    >>> x = x + x @ np.ones((30, 30)) / 30                            # units that have something in common
    >>> found = excess_correlation(correlation(x, x), np.cov(x.T))     # of a copy
    >>> found.shape, bool((found > 0.3).all())
    ((30,), True)
    """
    rows, among = np.asarray(cross, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if rows.ndim != 2 or among.shape != (rows.shape[1], rows.shape[1]):
        raise ValueError(f"cross must be (S_a, S_b) and covariance (S_b, S_b), found {rows.shape} and {among.shape}")
    if rotations < 1:
        raise ValueError(f"rotations must be 1 or more, found {rotations}")
    columns = np.flatnonzero(~np.isnan(np.diagonal(among)))
    live = ~np.isnan(rows[:, columns]).any(1)
    found = np.full(len(rows), np.nan)
    if not len(columns) or not live.any():
        return found
    given, among = rows[np.ix_(live, columns)], among[np.ix_(columns, columns)]
    with_raw = given * np.sqrt(np.diagonal(among))  # covariances of a's z-scores with b's activations
    source = seed if isinstance(seed, Rotations) else Rotations(seed)
    by_chance = np.zeros(len(given))
    for q in source.each(len(columns), rotations):
        deviations = np.sqrt(((among @ q) * q).sum(0).clip(1e-300))
        by_chance += (with_raw @ q / deviations).max(1)
    found[live] = given.max(1) - by_chance / rotations
    return found


def mutual_first(cross: ArrayLike) -> NDArray[np.bool_]:
    """Say which units of a are the first choice of their own first choice in b.

    By correlation with its sign, among all units given: "best buddies" (Dravid et al., 2023, "Rosetta Neurons: Mining
    the common units in a model zoo", with k = 1), where ``cross`` has the units of all layers of both networks. Pairs
    are there by chance, too: of n units on either side, all independent of one another, about half are mutual firsts.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        Correlations, NaN in the rows and columns of dead units.

    Returns
    -------
    ndarray of shape (S_a,), bool
        False for dead units.

    Raises
    ------
    ValueError
        For anything but a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import mutual_first
    >>> mutual_first([[0.9, 0.1], [0.8, 0.2], [np.nan, np.nan]]).tolist()
    [True, False, False]
    """
    sizes = np.asarray(cross, dtype=np.float64)
    if sizes.ndim != 2:
        raise ValueError(f"correlations have two axes (S_a, S_b), found shape {sizes.shape}")
    filled = np.where(np.isnan(sizes), -np.inf, sizes)
    if not filled.size:
        return np.zeros(len(sizes), dtype=bool)
    first, back = filled.argmax(1), filled.argmax(0)
    is_first = back[first] == np.arange(len(sizes))
    return np.asarray(is_first & np.isfinite(filled.max(1)))
