"""How alike the units themselves are, one to one, several to several, or in part.

The plan P (S_a, S_b) of a soft matching says how much of unit i of a is matched with unit j of b; units weigh 1/S_a
and 1/S_b. All similarities are Pearson correlations, with their signs. What they are by chance: the same of ``mixed``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.covariances import Covariances, measure
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

    0 < mass <= 1; at 1 it is ``soft_matching_score`` (Kapoor et al., 2026, "Partial soft-matching distance"). Raises
    ValueError for another mass.
    """
    r = c.correlations().cross
    return float((partial_plan(r, mass) * r).sum() / mass)


def mixed(c: Covariances, q: Floats) -> Covariances:
    """Of z-scores, those of b multiplied by an orthonormal ``q`` (S_b, S_b): b's subspace without its units.

    As a mixture has no sign of its own, its correlations with the units of a are all positive (`raycv.analysis.nulls`).
    """
    r = c.correlations()
    return Covariances(r.a, np.abs(r.cross @ q), q.T @ r.b @ q)
