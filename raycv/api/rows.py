"""Rows of the tables of a comparison: mapping layers, clusters, measures and recurrence, pair by pair of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.nulls import Rotated
from raycv.analysis.partners import Partners
from raycv.analysis.recurrence import Recurrence
from raycv.api.columns import PAIR, PairOfLayers, pairs_of, stacked
from raycv.api.group import Group
from raycv.errors import UserError
from raycv.paper import THRESHOLD

PREDICTED = ["source_net", "source_layer", "target_net", "target_layer"]  # PAIR where b is predicted from a


def beside(rows: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the values of ``control`` of the same layers, decays and measures behind, as control_NAME."""
    keys = [*PAIR, *(name for name in ("decay", "measure") if name in rows)]
    return rows.merge(control.rename(columns=lambda name: name if name in keys else f"control_{name}"), "left", keys)


def mappings(group: Group, decays: Sequence[float]) -> pd.DataFrame:
    """One row per ordered pair of layers and decay."""
    return stacked(group, {pair.at: _mapped(pair, decays) for pair in pairs_of(group)})


def _mapped(pair: PairOfLayers, decays: Sequence[float]) -> dict[str, Any]:
    from raycv.analysis.mapping import lasso_path  # which needs Numba, a second

    path = lasso_path(pair.group.correlation(pair.at[0], pair.at[0]), pair.cross, decays)
    return {
        "decay": list(decays),
        "loss": [layer.loss for layer in path],
        "r2": [layer.r2 for layer in path],
        "units_used": [layer.units_used() for layer in path],
    }


def clustered(pair: PairOfLayers, k: int | None) -> pd.DataFrame:
    """One row per unit of either layer."""
    from raycv.analysis.spectral import spectral_clusters  # which needs Numba, too

    first, second = (pair.group.members[n] for n in pair.at)
    a, b = (pair.group.correlation(n, n) for n in pair.at)
    found = spectral_clusters(np.block([[a, pair.cross], [pair.cross.T, b]]), len(a), k, threshold=THRESHOLD)
    about = dict(zip(PAIR, (*first, *second), strict=True)) | {"k": found.k}
    sides = ((*first, len(a)), (*second, len(b)))
    rows = pd.concat([pd.DataFrame({"net": net, "layer": layer, "unit": range(units)}) for net, layer, units in sides])
    return rows.assign(**about, cluster=found.labels)[[*about, "net", "layer", "unit", "cluster"]]


def measures(group: Group) -> Iterator[dict[str, Any]]:
    """One row per pair of layers of different networks and measure."""
    from raycv.api.measuring import measured  # which needs PyTorch

    for a, b in combinations(range(len(group.members)), 2):
        both = group.members[a], group.members[b]
        for one in measured(group.folds(a, b)) if both[0].net != both[1].net else ():
            (net_a, layer_a), (net_b, layer_b) = both[one.a], both[one.b]
            about = {"net_a": net_a, "layer_a": layer_a, "net_b": net_b, "layer_b": layer_b}
            ends = {"low": one.interval.low, "high": one.interval.high, "chance": one.chance}
            yield about | {"measure": one.measure, "value": one.value} | ends


def recurrence(group: Group) -> pd.DataFrame:
    """One row per unit. Raises UserError where one network has several layers among which a partner may be."""
    if len(group.nets) < len(group.members):
        raise UserError(
            "Whether a unit recurs is told of one layer of every network; compare layers of the same name, or name "
            "those that belong together with compare."
        )
    found = Recurrence(
        {
            pair: Partners(one.columns, one.value, one.rotated, one.p_values, one.q_values, Rotated(one.rotated[None]))
            for pair, one in group.tested.items()
        }
    )
    members = enumerate(group.members)
    tables = [pd.DataFrame({"layer": m.layer, "net": m.net, **found.of_units(n)}) for n, m in members]
    return pd.concat(tables, ignore_index=True)
