"""Rows of the table matchings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raycv.analysis.matching import bipartite_matching, semi_matching

CHANCE = 0.2  # what mixed units give
FOUND = 0.55  # partners of larger similarity count as more than chance


def matching_rows(
    similarity: np.ndarray, layer: str = "conv1", net_a: str = "net1", net_b: str = "net2"
) -> pd.DataFrame:
    """The rows of the table matchings that belong to one similarity matrix."""
    found = {"semi": semi_matching(similarity), "bipartite": bipartite_matching(similarity)}
    return pd.concat(
        pd.DataFrame(
            {
                "layer": layer,
                "net_a": net_a,
                "net_b": net_b,
                "similarity": "correlation",
                "method": method,
                "unit_a": np.arange(len(matching.columns)),
                "unit_b": matching.columns,
                "value": matching.values,
                "rotated_value": np.where(matching.columns >= 0, CHANCE, np.nan),
                "q_value": np.where(matching.values > FOUND, 0.01, 0.5),
            }
        )
        for method, matching in found.items()
    )
