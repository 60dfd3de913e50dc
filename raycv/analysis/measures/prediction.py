"""Linear regression: how much of one network the other predicts."""

from __future__ import annotations

import numpy as np

from raycv.analysis.measures.covariances import Covariances, measure


@measure
def regression_r2(c: Covariances) -> float:
    """Compute how much of b's variance least squares on a predicts (Kornblith et al., 2019, table 1).

    tr(Cᵀ Σ_a⁺ C) / tr Σ_b.

    ``c.reversed()`` gives the other way; ``c.correlations()`` counts all units of b alike, the mean of their R².

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
    >>> from raycv.analysis import Covariances, regression_r2
    >>> c = Covariances(np.eye(2), np.array([[1.0], [0.0]]), np.eye(1))          # b is the first unit of a
    >>> regression_r2(c), regression_r2(c.reversed())
    (1.0, 0.5)
    """
    return float(min(((c.whitened[0].T @ c.cross) ** 2).sum() / np.trace(c.b), 1.0))
