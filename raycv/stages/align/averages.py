"""Rows of the table alignment_by_layer: averages over pairs of networks, with intervals over the networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.similarity import mean_over_networks

# Columns of `alignment` that are averaged, and those of them that are shares of units.
AVERAGED = (
    "mean",
    "rotated_mean",
    "excess",
    "prerelu_mean",
    "prerelu_excess",
    "beyond_chance",
    "estimated_share",
    "one_unit_share",
    "fraction_below_half",
    "agreement",
    "agreement_with_correlation",
    "partner_stability",
    "heldout_mean",
    "same_index",
    "same_index_chance",
)
SHARES = ("beyond_chance", "fraction_below_half", "agreement", "agreement_with_correlation", "same_index")


def average_rows(alignment: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """One row per layer, similarity, method and quantity, from the rows of these tables; quantities that are defined.

    Measures have neither similarity nor method.
    """
    rows = []
    for (layer, similarity, method), pairs in alignment.groupby(["layer", "similarity", "method"], sort=False):
        about = {"layer": layer, "similarity": similarity, "method": method}
        for quantity in AVERAGED:
            untrained = f"untrained_{quantity}"
            chance = pairs[untrained] if untrained in pairs else pd.Series(np.nan, pairs.index)
            units = int(pairs["units"].mean()) if quantity in SHARES else None
            rows += _row(about | {"quantity": quantity}, pairs, pairs[quantity], chance, units)
    for (layer, measure), pairs in measures.groupby(["layer_a", "measure"], sort=False):
        about = {"layer": layer, "similarity": "", "method": "", "quantity": measure}
        rows += _row(about, pairs, pairs["value"], pairs["chance"], None)
    return pd.DataFrame(rows)


def _row(
    about: dict[str, Any], pairs: pd.DataFrame, values: pd.Series, chance: pd.Series, units: int | None
) -> list[dict[str, Any]]:
    if values.isna().any():
        return []
    names = {name: n for n, name in enumerate(dict.fromkeys([*pairs["net_a"], *pairs["net_b"]]))}
    numbered = [(names[a], names[b]) for a, b in zip(pairs["net_a"], pairs["net_b"], strict=True)]
    value, interval = mean_over_networks(dict(zip(numbered, values.tolist(), strict=True)), units=units or None)
    ends = {"networks_low": interval.low, "networks_high": interval.high}
    return [about | {"value": value} | ends | {"untrained": float(chance.mean())}]
