"""Linear regression: how much of one network the other predicts."""

from __future__ import annotations

import numpy as np

from raycv.analysis.measures.covariances import Covariances, measure


@measure
def regression_r2(c: Covariances) -> float:
    """tr(Cᵀ Σ_a⁺ C) / tr Σ_b: how much of b's variance least squares on a predicts (Kornblith et al., 2019, table 1).

    ``c.reversed()`` gives the other way; ``c.correlations()`` counts all units of b alike, the mean of their R².
    """
    return float(min(((c.whitened[0].T @ c.cross) ** 2).sum() / np.trace(c.b), 1.0))
