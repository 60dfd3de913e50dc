"""Distances between representations as shapes, after the best rotation or renumbering of the units.

All are metrics: they are symmetric, and no detour is shorter (Williams et al., 2021, "Generalized shape metrics on
neural representations"). Networks of different widths are compared with silent units added to the smaller one.
"""

from __future__ import annotations

import numpy as np

from raycv.analysis.measures.covariances import Covariances, measure
from raycv.extras import needed

with needed():
    from scipy.optimize import linear_sum_assignment


@measure
def procrustes_distance(c: Covariances) -> float:
    """Compute the Procrustes distance: what the best rotation leaves (Schönemann, 1966).

    sqrt(tr Σ_a + tr Σ_b − 2 ‖C‖_*), with ‖·‖_* the sum of singular values.

    That is the minimum over orthonormal Q of ‖X − YQ‖ / √n, the root mean square over samples. A metric;
    networks of different widths are compared with silent units added to the smaller one (Williams et al.,
    2021).

    Parameters
    ----------
    c : Covariances
        Of live units; ``c.normalised`` frees it of scale.

    Returns
    -------
    float
        0 or more, in units of the activation; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, procrustes_distance
    >>> procrustes_distance(Covariances(np.eye(2), np.eye(2), np.eye(2)))
    0.0
    """
    return _euclidean(c, c.nuclear)


@measure
def angular_distance(c: Covariances) -> float:
    """Compute the angle that the best rotation leaves.

    arccos(‖C‖_* / sqrt(tr Σ_a tr Σ_b)), with ‖·‖_* the sum of singular values; a metric (Williams et al., 2021).

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    float
        From 0 to π/2, free of scale; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, angular_distance
    >>> round(angular_distance(Covariances(np.eye(2), np.eye(2) / 2, np.eye(2))), 4)       # π / 3
    1.0472
    """
    return _angle(c, c.nuclear)


@measure
def permutation_procrustes_distance(c: Covariances) -> float:
    """Compute the distance that the best renumbering of the units leaves: min over permutations P of ‖X − YP‖ / √n.

    As `procrustes_distance`, but only renumbering units (Williams et al., 2021).

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    float
        0 or more, in units of the activation; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, permutation_procrustes_distance
    >>> permutation_procrustes_distance(Covariances(np.eye(3), np.eye(3)[[2, 0, 1]], np.eye(3)))
    0.0
    """
    return _euclidean(c, _assigned(c))


@measure
def permutation_angular_distance(c: Covariances) -> float:
    """Compute the angle that the best renumbering of the units leaves.

    As `angular_distance`, but only renumbering units (Williams et al., 2021).

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    float
        From 0 to π, above π/2 where even the best partners are opposed; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, permutation_angular_distance
    >>> round(permutation_angular_distance(Covariances(np.eye(1), -np.eye(1), np.eye(1))), 4)
    3.1416
    """
    return _angle(c, _assigned(c))


def _assigned(c: Covariances) -> float:
    return float(c.cross[linear_sum_assignment(c.cross, maximize=True)].sum())


def _euclidean(c: Covariances, overlap: float) -> float:
    return float(np.sqrt(max(np.trace(c.a) + np.trace(c.b) - 2 * overlap, 0)))


def _angle(c: Covariances, overlap: float) -> float:
    return float(np.arccos(np.clip(overlap / np.sqrt(np.trace(c.a) * np.trace(c.b)), -1, 1)))
