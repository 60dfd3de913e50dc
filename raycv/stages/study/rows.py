"""Rows of the tables study and study_slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from raycv.analysis.arrays import Floats
from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.analysis.similarity import jackknife
from raycv.analysis.slopes import slopes, stratified_jackknife
from raycv.run import tables
from raycv.run.schema import GROWING
from raycv.run.store import RunStore

SEMI = [("similarity", "==", "correlation"), ("method", "==", "semi")]


@dataclass(frozen=True)
class Quantity:
    """A quantity: its ``value`` among all K networks, and (K,) ``without_each`` of them, empty for K < 3.

    ``units``: of a network, if it is a share of them.
    """

    value: float
    without_each: Floats
    units: int | None = None


@dataclass(frozen=True)
class Combination:
    """One width and number of training images, and what its run says of each layer and quantity."""

    width: int
    images: int
    rows: pd.DataFrame
    measured: Mapping[tuple[str, str], Quantity]


def combination(store: RunStore, width: int, images: int) -> Combination:
    """Read the run of one combination; ``rows`` are those of the table study."""
    alignment = tables.read(store, "alignment", filters=SEMI)
    columns = ["layer", "net_a", "net_b", "unit_a", "unit_b", "q_value"]
    matchings = tables.read(store, "matchings", columns=columns, filters=SEMI)
    top1 = float(np.mean([row["validation_top1"] for row in tables.last_epochs(store)]))
    rows, measured = [], dict[tuple[str, str], Quantity]()
    for layer, pairs in alignment.groupby("layer", sort=False):
        units = matchings[matchings["layer"] == layer]
        about = {"width": width, "images": images, "layer": str(layer), "units": units["unit_a"].nunique()}
        found = _measured(pairs, units)
        measured |= {(str(layer), quantity): value for quantity, value in found.items()}
        untrained = {name: _mean(pairs[name]) for name in ("untrained_excess", "untrained_prerelu_excess")}
        rows.append(about | _columns(found) | untrained | {"validation_top1": top1})
    return Combination(width, images, pd.DataFrame(rows), measured)


def _measured(pairs: pd.DataFrame, units: pd.DataFrame) -> dict[str, Quantity]:
    """Every quantity of one layer, from its rows of alignment and of matchings."""
    averaged = {
        "correlation": pairs["excess"] + pairs["rotated_mean"],  # of absolute correlations, as `mean` is not
        "excess": pairs["excess"],
        "prerelu_excess": pairs["prerelu_excess"],
        "partner_share": pairs["beyond_chance"],
    }
    nets = sorted(set(pairs["net_a"]))
    rest = [[net for net in nets if net != left_out] for left_out in nets] if len(nets) > 2 else []

    def over(values: pd.Series, kept: Sequence[str]) -> float:
        return _mean(values[pairs["net_a"].isin(kept) & pairs["net_b"].isin(kept)])

    of_network = len(units.loc[units["unit_b"] >= 0, ["net_a", "unit_a"]].drop_duplicates()) // len(nets) or None
    live = dict.fromkeys(averaged) | {"partner_share": of_network}
    found = {
        name: Quantity(over(values, nets), np.array([over(values, kept) for kept in rest]), live[name])
        for name, values in averaged.items()
    }
    recurring = np.array([_recurring_share(units, kept) for kept in rest])
    return found | {"recurring_share": Quantity(_recurring_share(units, nets), recurring, of_network)}


def _recurring_share(units: pd.DataFrame, nets: Sequence[str]) -> float:
    """`raycv.analysis.recurrence.recurring_share` among some of the networks, from rows of matchings."""
    kept = units[units["net_a"].isin(nets) & units["net_b"].isin(nets)]
    flags = pd.DataFrame({"live": kept["unit_b"] >= 0, "found": kept["q_value"] <= FALSE_DISCOVERIES})
    by_unit = flags.groupby([kept["net_a"], kept["unit_a"]])
    live, in_all = by_unit["live"].any(), by_unit["found"].all()
    return float(in_all[live].mean()) if live.any() else float("nan")


def _mean(values: pd.Series) -> float:
    """NaN where one of them is."""
    return float(values.to_numpy(dtype=np.float64).mean())


def _columns(found: Mapping[str, Quantity]) -> dict[str, float]:
    columns = dict[str, float]()
    for name in GROWING:
        interval = jackknife(found[name].value, found[name].without_each, units=found[name].units)
        columns |= {name: found[name].value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return columns


def slope_rows(combinations: Sequence[Combination]) -> pd.DataFrame:
    """One row per layer, quantity and setting that varies; layers are those of every combination."""
    settings = {
        name: np.log2([getattr(one, name) for one in combinations])
        for name in ("width", "images")
        if len({getattr(one, name) for one in combinations}) > 1
    }
    regressors = np.column_stack(list(settings.values()))
    rows = []
    for layer, quantity in combinations[0].measured:
        found = [one.measured[layer, quantity] for one in combinations]
        values, replicates = [one.value for one in found], [one.without_each for one in found]
        for place, against in enumerate(settings):
            slope = partial(_slope, regressors, place)
            interval = stratified_jackknife(values, replicates, slope)
            about = {"layer": layer, "quantity": quantity, "against": against}
            rows.append(about | {"slope": slope(np.array(values)), "low": interval.low, "high": interval.high})
    return pd.DataFrame(rows)


def _slope(regressors: Floats, place: int, values: Floats) -> float:
    return float(slopes(regressors, values)[place])
