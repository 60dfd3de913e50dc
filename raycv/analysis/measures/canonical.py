"""Canonical correlations: how well the directions of one network are found in the other, whatever their scale."""

from __future__ import annotations

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.covariances import Covariances, measure

KEPT_VARIANCE = 0.99  # by the directions that SVCCA keeps


def canonical_correlations(c: Covariances) -> Floats:
    """(d,), falling: the singular values of Σ_a^(-½) C Σ_b^(-½), d the smaller rank of Σ_a and Σ_b (Hotelling, 1936).

    Directions that rounding cannot tell from constant ones are left out (`raycv.analysis.regression.whitening`).
    """
    return c.canonical[1]


@measure
def mean_cca(c: Covariances) -> float:
    """The mean canonical correlation, ρ̄ of Kornblith et al. (2019), table 1."""
    return float(canonical_correlations(c).mean())


@measure
def svcca(c: Covariances, kept: float = KEPT_VARIANCE) -> float:
    """The mean canonical correlation of the principal directions that hold ``kept`` of each variance.

    As few directions as reach that share (Raghu et al., 2017).
    """
    w_a, w_b = (_principal(whitened, kept) for whitened in c.whitened)
    return float(np.clip(np.linalg.svd(w_a.T @ c.cross @ w_b, compute_uv=False), 0, 1).mean())


@measure
def pwcca(c: Covariances) -> float:
    """Σ α_i ρ_i / Σ α_i: canonical correlations ρ_i weighted by how much of the units their directions account for.

    α_i = Σ_j |⟨h_i, x_j⟩| over the units x_j, with h_i the canonical variates, of the network of smaller rank, of a
    where they are equal (Morcos et al., 2018, section 3; the authors' own code leaves the h_i unwhitened, against the
    text).
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
