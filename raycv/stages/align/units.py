"""Rows of the tables units and activity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from raycv.analysis.activity import activity_ranking, activity_spread
from raycv.analysis.partner_stability import Stability
from raycv.analysis.top_patches import class_purity
from raycv.networks.spec import NetworkSpec
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.moments import JointMoments, mean, offsets, variance


def unit_rows(
    layer: str,
    specs: Sequence[NetworkSpec],
    sums: LayerStatistics,
    kurtosis: np.ndarray,
    labels: np.ndarray,
    stability: Mapping[tuple[int, int], Stability],
) -> pd.DataFrame:
    """One row per network and unit; stacked are ``kurtosis`` (U,) and ``labels`` (U, 9), the top patches' classes.

    ``stability``: of the partners in every other network; empty where the images are one fold.
    """
    total, dead = sums.all, sums.dead()
    bounds = offsets(total.widths)
    return pd.DataFrame(
        {
            "net": np.repeat([spec.name for spec in specs], total.widths),
            "layer": layer,
            "unit": np.concatenate([np.arange(width) for width in total.widths]),
            "unit_name": [name for n, spec in enumerate(specs) for name in _names(spec, layer, int(total.widths[n]))],
            "mean": mean(total),
            "std": np.sqrt(variance(total)),
            "active_fraction": total.active / total.count,
            "kurtosis": np.where(dead, np.nan, kurtosis),
            "class_purity": np.where(dead, np.nan, class_purity(labels)),
            "is_dead": dead,
            "is_rare": sums.rare(),
            "partner_stability": _over_others(stability, total.widths.tolist(), "same"),
            "heldout_value": _over_others(stability, total.widths.tolist(), "heldout"),
        },
        index=range(bounds[-1]),
    )


def _names(spec: NetworkSpec, layer: str, width: int) -> Sequence[str | None]:
    return spec.names_of_units(layer) or [None] * width


def _over_others(stability: Mapping[tuple[int, int], Stability], widths: Sequence[int], name: str) -> np.ndarray:
    """(U,): means over the other networks, NaN where a unit can have no partner."""
    means = []
    for net, width in enumerate(widths):
        values = [getattr(found, name) for (a, _), found in stability.items() if a == net] or [np.full(width, np.nan)]
        means.append(pd.DataFrame(values).mean().to_numpy())
    return np.concatenate(means)


def layer_rows(layer: str, specs: Sequence[NetworkSpec], sums: LayerStatistics) -> pd.DataFrame:
    """One row per network: where in it the layer is, at which positions, and how many of its units are left out."""
    places = [spec.place(layer) for spec in specs]
    grids = ["own" if p.grid is None else "x".join(map(str, p.grid)) or "mean" for p in places]
    modules = [place.module for place in places]
    about = {"layer": layer, "net": [spec.name for spec in specs]}
    widths = sums.folds[0].widths
    counts = {"units": widths}
    for name, which in (("dead_units", sums.dead()), ("rare_units", sums.rare())):
        counts[name] = np.array([part.sum() for part in np.split(which, offsets(widths)[1:-1])])
    return pd.DataFrame(about | {"module": modules, **counts, "grid": grids})


def activity_rows(layer: str, specs: tuple[NetworkSpec, ...], total: JointMoments) -> pd.DataFrame:
    """One row per network; none for a layer of negative means (not after a ReLU) or with a network that never fires."""
    bounds = offsets(total.widths)
    means = [mean(total)[bounds[n] : bounds[n + 1]] for n in range(len(specs))]
    # A silent unit's mean is its pilot plus a sum that takes the pilot away again: 0 but for rounding.
    firing = [(total.active[bounds[n] : bounds[n + 1]] > 0) & (means[n] > 0) for n in range(len(specs))]
    means = [np.where(fires, values, 0.0) for fires, values in zip(firing, means, strict=True)]
    if (total.minimum + total.pilot < 0).any() or not all(fires.any() for fires in firing):
        return pd.DataFrame()
    spread = activity_spread(means)
    return pd.DataFrame(
        {
            "layer": layer,
            "net": [spec.name for spec in specs],
            "units": [int(fires.sum()) for fires in firing],
            "silent": [len(activity_ranking(values).silent) for values in means],
            "highest": spread.highest,
            "lowest": spread.lowest,
            "decades": spread.decades,
            "distance": spread.distance.sum(axis=1) / max(len(specs) - 1, 1),
            "top_ratio": spread.top_ratio,
            "typical_ratio": spread.typical_ratio,
        }
    )
