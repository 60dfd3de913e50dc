"""How alike the units themselves are, one to one, several to several, or in part.

The plan P (S_a, S_b) of a soft matching says how much of unit i of a is matched with unit j of b; units weigh 1/S_a
and 1/S_b. All similarities are Pearson correlations, with their signs. What they are by chance: the same of ``mixed``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.covariances import Covariances, measure
from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.analysis.transport import partial_plan, uniform_plan


@measure
def hard_correlation_match(c: Covariances) -> float:
    """The mean correlation of the one-to-one pairs of largest sum, min(S_a, S_b) of them (Li et al., 2015)."""
    r = c.correlations().cross
    return float(r[linear_sum_assignment(r, maximize=True)].mean())


@measure
def soft_correlation_match(c: Covariances) -> float:
    """The mean of each unit's largest correlation, over both directions (Li et al., 2015; Klabunde et al., 2025)."""
    r = c.correlations().cross
    return float((r.max(1).mean() + r.max(0).mean()) / 2)


@measure
def soft_matching_score(c: Covariances) -> float:
    """max over plans of Σ P_ij r_ij, all units matched (Khosla & Williams, 2024, the correlation score)."""
    r = c.correlations().cross
    return float((uniform_plan(r) * r).sum())


@measure
def soft_matching_distance(c: Covariances) -> float:
    """min over plans of sqrt(Σ P_ij E|z_i − z_j|²) between z-scores = sqrt(2 − 2 ``soft_matching_score``).

    A metric, for any numbers of units, by optimal transport (Khosla & Williams, 2024, "Soft matching distance").
    """
    return math.sqrt(max(2 - 2 * soft_matching_score(c), 0))


@measure
def partial_matching_score(c: Covariances, mass: float) -> float:
    """max over plans that match just ``mass`` of the units of Σ P_ij r_ij / mass, the mean correlation matched.

    0 < mass <= 1; at 1 it is ``soft_matching_score`` (Kapoor et al., 2026, "Partial soft-matching distance"). NaN for a
    mass of 0, which matches nothing. Raises ValueError for another mass.
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
