"""Rows of the tables recurrence and recurrence_by_layer: which units come back in every network, and which do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raycv.analysis.recurrence import (
    Recurrence,
    estimated_partner_share,
    grouped_share,
    over_networks,
    partner_share,
    recurrence,
    recurring_share,
)
from raycv.analysis.significance import Draws
from raycv.networks.spec import NetworkSpec
from raycv.stages.align.groups import NetworkGroup

if TYPE_CHECKING:
    import torch

PREDICTORS = ("mean", "active_fraction", "kurtosis", "class_purity")  # columns of the table units
Quantities = Mapping[str, Callable[[Recurrence], float]]
SHARES: Quantities = {
    "partner_share": partner_share,
    "estimated_share": estimated_partner_share,
    "recurring_share": recurring_share,
    "group_share": grouped_share,
}
OF_PAIRS = ("partner_share", "estimated_share")  # the others fall with the number of networks


def recurrence_of(
    group: NetworkGroup,
    chance: Mapping[tuple[int, int], Sequence[Draws]] | None = None,
    device: torch.device | str = "cpu",
) -> Recurrence:
    """The partners of every unit in all other networks, tested against ``chance``, too, on a device with float64."""
    correlations = group.correlations(group.moments)
    return recurrence(correlations, deviations=group.deviations, chance=chance, device=device)


def recurrence_rows(layer: str, specs: Sequence[NetworkSpec], found: Recurrence) -> pd.DataFrame:
    """One row per network and unit."""
    nets = enumerate(spec.name for spec in specs)
    return pd.concat(pd.DataFrame({"layer": layer, "net": net, **found.of_units(n)}) for n, net in nets)


def layer_rows(layer: str, units: pd.DataFrame, found: Recurrence, untrained: Recurrence | None) -> pd.DataFrame:
    """One row per quantity, with its interval over networks; ``units``: the layer's rows of the table units."""
    rows = []
    for name, quantity in _quantities(units).items():
        interval = over_networks(found, quantity, is_share=name in SHARES)
        same = untrained and (name in OF_PAIRS or len(untrained.networks) == len(found.networks))
        chance = SHARES[name](untrained) if untrained and same and name in SHARES else np.nan
        about = {"layer": layer, "quantity": name, "value": quantity(found)}
        rows.append(about | {"low": interval.low, "high": interval.high, "untrained": chance})
    return pd.DataFrame(rows)


def _quantities(units: pd.DataFrame) -> Quantities:
    by_net = [rows for _, rows in units.groupby("net", sort=False)]
    predicted = {
        f"partners_by_{name}": _rank_correlation([rows[name].to_numpy() for rows in by_net]) for name in PREDICTORS
    }
    return {**SHARES, **predicted}


def _rank_correlation(by_net: list[np.ndarray]) -> Callable[[Recurrence], float]:
    """Spearman's, over all live units, of the number of partners and ``by_net``; NaN where one is constant."""
    from scipy.stats import spearmanr  # which takes a second

    def quantity(found: Recurrence) -> float:
        live = np.concatenate([found.live(n) for n in found.networks])
        counts = np.concatenate([found.partners(n) for n in found.networks])[live]
        values = np.concatenate([by_net[n] for n in found.networks])[live]
        if len(set(counts)) < 2 or len(set(values)) < 2:
            return float("nan")
        return float(spearmanr(counts, values).statistic)

    return quantity
