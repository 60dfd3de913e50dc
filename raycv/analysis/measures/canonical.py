"""Canonical correlations: how well the directions of one network are found in the other, whatever their scale."""

from __future__ import annotations

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.covariances import Covariances, measure

KEPT_VARIANCE = 0.99  # by the directions that SVCCA keeps


def canonical_correlations(c: Covariances) -> Floats:
    """Compute the singular values of Σ_a^(-½) C Σ_b^(-½) (Hotelling, 1936).

    Directions that rounding cannot tell from constant ones are left out.

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    ndarray of shape (d,)
        Falling, from 1 to 0; d is the smaller rank of Σ_a and Σ_b.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, canonical_correlations
    >>> canonical_correlations(Covariances(np.diag([4.0, 1.0]), np.diag([1.0, 0.0]), np.eye(2))).round(6).tolist()
    [0.5, 0.0]
    """
    return c.canonical[1]


@measure
def mean_cca(c: Covariances) -> float:
    """Average the canonical correlations, ρ̄ of Kornblith et al. (2019), table 1.

    Parameters
    ----------
    c : Covariances
        Of live units. With few samples a unit, the mean is near 1 for any networks.

    Returns
    -------
    float
        From 0 to 1; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, mean_cca
    >>> round(mean_cca(Covariances(np.diag([4.0, 1.0]), np.diag([1.0, 0.0]), np.eye(2))), 6)
    0.25
    """
    return float(canonical_correlations(c).mean())


@measure
def svcca(c: Covariances, kept: float = KEPT_VARIANCE) -> float:
    """Average the canonical correlations of the directions that hold most of each variance (Raghu et al., 2017).

    Parameters
    ----------
    c : Covariances
        Of live units.
    kept : float, default 0.99
        The share of each network's variance; as few directions are kept as reach it.

    Returns
    -------
    float
        From 0 to 1; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, svcca
    >>> c = Covariances(np.diag([999.0, 1.0]), np.diag([999.0, 0.0]), np.diag([999.0, 1.0]))
    >>> round(svcca(c), 6), round(svcca(c, kept=1.0), 6)
    (1.0, 0.5)
    """
    w_a, w_b = (_principal(whitened, kept) for whitened in c.whitened)
    return float(np.clip(np.linalg.svd(w_a.T @ c.cross @ w_b, compute_uv=False), 0, 1).mean())


@measure
def pwcca(c: Covariances) -> float:
    """Average the canonical correlations ρ_i weighted by how much of the units their directions account for.

    Σ α_i ρ_i / Σ α_i with α_i = Σ_j |⟨h_i, x_j⟩| over the units x_j, with h_i the canonical variates, of the network of
    smaller rank, of a where they are equal (Morcos et al., 2018, section 3; the authors' own code leaves the h_i
    unwhitened, against the text).

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    float
        From 0 to 1; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, pwcca
    >>> round(pwcca(Covariances(np.diag([9.0, 1.0]), np.diag([9.0, 0.0]), np.diag([9.0, 1.0]))), 6)
    0.75
    """
    left, values, right = c.canonical
    w_a, w_b = c.whitened
    if w_a.shape[1] > w_b.shape[1]:
        left, w_a, within = right.T, w_b, c.b
    else:
        within = c.a
    weights = np.abs(left.T @ w_a.T @ within).sum(1)
    return float(weights @ values / weights.sum())


def _principal(whitened: Floats, kept: float) -> Floats:
    """The first columns of ``whitened``, as few as hold ``kept`` of the variance."""
    variances = 1 / (whitened**2).sum(0)  # each column is a direction over its standard deviation
    share = np.cumsum(variances) / variances.sum()
    return whitened[:, : int(np.searchsorted(share, kept - 1e-12)) + 1]
