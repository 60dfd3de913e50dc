"""How alike the units themselves are, one to one, several to several, or in part.

The plan P (S_a, S_b) of a soft matching says how much of unit i of a is matched with unit j of b; units weigh 1/S_a
and 1/S_b. All similarities are Pearson correlations, with their signs. What they are by chance: the same of ``mixed``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.covariances import Covariances, measure
from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.analysis.transport import partial_plan, uniform_plan
from raycv.extras import needed

with needed():
    from scipy.optimize import linear_sum_assignment


@measure
def hard_correlation_match(c: Covariances) -> float:
    """Average the correlations of the one-to-one pairs of largest sum (Li et al., 2015).

    Parameters
    ----------
    c : Covariances
        Of live units; there are min(S_a, S_b) pairs.

    Returns
    -------
    float
        From -1 to 1; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, hard_correlation_match
    >>> c = Covariances(np.eye(2), np.array([[0.5, 0.5], [0.5, 0.2]]), np.eye(2))
    >>> hard_correlation_match(c)
    0.5
    """
    r = c.correlations().cross
    return float(r[linear_sum_assignment(r, maximize=True)].mean())


@measure
def soft_correlation_match(c: Covariances) -> float:
    """Average each unit's largest correlation, over both directions (Li et al., 2015; Klabunde et al., 2025).

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    float
        From -1 to 1; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, soft_correlation_match
    >>> c = Covariances(np.eye(1), np.array([[0.5, 0.1]]), np.eye(2))
    >>> round(soft_correlation_match(c), 6)                      # 0.5 of a, 0.3 of b
    0.4
    """
    r = c.correlations().cross
    return float((r.max(1).mean() + r.max(0).mean()) / 2)


@measure
def soft_matching_score(c: Covariances) -> float:
    """Compute the largest mean correlation of a soft matching of all units.

    The correlation score of Khosla & Williams (2024).

    max over plans P (`uniform_plan`) of Σ P_ij r_ij, where units weigh 1/S_a and 1/S_b.

    Parameters
    ----------
    c : Covariances
        Of live units, of any numbers.

    Returns
    -------
    float
        From -1 to 1; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, soft_matching_score
    >>> round(soft_matching_score(Covariances(np.eye(1), np.array([[0.5, 0.1]]), np.eye(2))), 6)
    0.3
    """
    r = c.correlations().cross
    return float((uniform_plan(r) * r).sum())


@measure
def soft_matching_distance(c: Covariances) -> float:
    """Compute the soft matching distance, sqrt(2 − 2 `soft_matching_score`) (Khosla & Williams, 2024).

    A metric, for any numbers of units, by optimal transport: min over plans of sqrt(Σ P_ij E|z_i − z_j|²) between
    z-scores.

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    float
        From 0 to 2; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, soft_matching_distance
    >>> soft_matching_distance(Covariances(np.eye(2), np.eye(2) / 2, np.eye(2)))
    1.0
    """
    return math.sqrt(max(2 - 2 * soft_matching_score(c), 0))


@measure
def partial_matching_score(c: Covariances, mass: float) -> float:
    """Compute the largest mean correlation of a soft matching of a part of the units.

    max over plans P of total ``mass`` (`partial_plan`) of Σ P_ij r_ij / mass (Kapoor et al., 2026, "Partial
    soft-matching distance").

    Parameters
    ----------
    c : Covariances
        Of live units.
    mass : float
        The part that is matched, from 0 to 1; at 1 it is `soft_matching_score`.

    Returns
    -------
    float
        From -1 to 1; NaN for a mass of 0, which matches nothing, and where a network has no live unit.

    Raises
    ------
    ValueError
        For another mass.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, partial_matching_score
    >>> c = Covariances(np.eye(2), np.diag([0.9, 0.1]), np.eye(2))
    >>> round(partial_matching_score(c, 1), 6), round(partial_matching_score(c, 0.5), 6)
    (0.5, 0.9)
    """
    if mass == 0:
        return math.nan
    r = c.correlations().cross
    return float((partial_plan(r, mass) * r).sum() / mass)


def matched_mass(first: Covariances, second: Covariances, mixtures: Sequence[Floats]) -> float:
    """The part of the units, 0 to 1, that is worth matching, chosen on images not used to find the pairs.

    ``first`` and ``second`` are of the same units over two halves of the images. One-to-one pairs are found and ranked
    in one half and taken from the other (``held_out_pairs``), both ways. The same pairs with b's units mixed by
    ``mixtures`` say what is chance: a pair gains what it has above the 95% quantile of theirs, and the best pairs are
    matched as long as the sum of gains grows. By chance alone that is some 5% of the units.
    """
    if not first.cross.size:
        return 0.0
    ways = ((first, second), (second, first))
    found = np.mean([held_out_pairs(*way) for way in ways], axis=0)
    rotated = [(mixed(first, mixture), mixed(second, mixture)) for mixture in mixtures]
    chance = [held_out_pairs(*way) for a, b in rotated for way in ((a, b), (b, a))]
    gains = np.append(0, np.cumsum(found - np.quantile(chance, 1 - FALSE_DISCOVERIES)))
    return float(gains.argmax() / len(found))


def held_out_pairs(fitted: Covariances, other: Covariances) -> Floats:
    """(n,): correlations in ``other`` of the one-to-one pairs of largest sum in ``fitted``, the best there first."""
    pairs = fitted.correlations().cross
    rows, columns = linear_sum_assignment(pairs, maximize=True)
    ranked = np.argsort(-pairs[rows, columns], kind="stable")
    held_out: Floats = other.correlations().cross[rows, columns][ranked]
    return held_out


def mixed(c: Covariances, q: Floats) -> Covariances:
    """Of z-scores, those of b multiplied by an orthonormal ``q`` (S_b, S_b): b's subspace without its units.

    As a mixture has no sign of its own, its correlations with the units of a are all positive (`raycv.analysis.nulls`).
    """
    r = c.correlations()
    return Covariances(r.a, np.abs(r.cross @ q), q.T @ r.b @ q)
