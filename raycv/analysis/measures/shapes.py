"""Distances between representations as shapes, after the best rotation or renumbering of the units.

All are metrics: they are symmetric, and no detour is shorter (Williams et al., 2021, "Generalized shape metrics on
neural representations"). Networks of different widths are compared with silent units added to the smaller one.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from raycv.analysis.measures.covariances import Covariances, measure


@measure
def procrustes_distance(c: Covariances) -> float:
    """min over orthonormal Q of ‖X − YQ‖ / √n = sqrt(tr Σ_a + tr Σ_b − 2 ‖C‖_*), ‖·‖_* the sum of singular values.

    The root mean square over samples, in units of the activation, of what a rotation leaves (Schönemann, 1966).
    """
    return _euclidean(c, c.nuclear)


@measure
def angular_distance(c: Covariances) -> float:
    """min over Q of the angle between X and YQ, arccos(‖C‖_* / sqrt(tr Σ_a tr Σ_b)): from 0 to π/2, free of scale."""
    return _angle(c, c.nuclear)


@measure
def permutation_procrustes_distance(c: Covariances) -> float:
    """As ``procrustes_distance``, but only renumbering units: min over permutations P of ‖X − YP‖ / √n."""
    return _euclidean(c, _assigned(c))


@measure
def permutation_angular_distance(c: Covariances) -> float:
    """As ``angular_distance``, but only renumbering units; above π/2 where even the best partners are opposed."""
    return _angle(c, _assigned(c))


def _assigned(c: Covariances) -> float:
    return float(c.cross[linear_sum_assignment(c.cross, maximize=True)].sum())


def _euclidean(c: Covariances, overlap: float) -> float:
    return float(np.sqrt(max(np.trace(c.a) + np.trace(c.b) - 2 * overlap, 0)))


def _angle(c: Covariances, overlap: float) -> float:
    return float(np.arccos(np.clip(overlap / np.sqrt(np.trace(c.a) * np.trace(c.b)), -1, 1)))
