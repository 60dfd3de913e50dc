"""Rows of the tables study and study_slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.arrays import Floats
from raycv.analysis.sharing import at_constant, latents_of, shared
from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.analysis.similarity import jackknife
from raycv.analysis.slopes import slopes, stratified_jackknife
from raycv.run import tables
from raycv.run.schema import GROWING, WITH_NULL
from raycv.run.store import RunStore

BEYOND = {"beyond": "slope", "beyond_low": "low", "beyond_high": "high"}
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
    dimensions = tables.read(store, "measures", filters=[("measure", "==", "effective_dimension")])
    dimension = dimensions.groupby("layer_a")["value"].mean()
    for layer, pairs in alignment.groupby("layer", sort=False):
        units = matchings[matchings["layer"] == layer]
        about = {"width": width, "images": images, "layer": str(layer), "units": units["unit_a"].nunique()}
        found = _measured(pairs, units)
        measured |= {(str(layer), quantity): value for quantity, value in found.items()}
        untrained = {name: _mean(pairs[name]) for name in ("untrained_excess", "untrained_prerelu_excess")}
        about |= {"effective_dimension": float(dimension.get(layer, np.nan))}
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


Nulls = Mapping[tuple[str, str], Floats]  # by layer and quantity (C,), of every combination


def at_constant_sharing(combinations: Sequence[Combination]) -> Nulls:
    """What every quantity of `raycv.analysis.sharing` would be if units shared as much in every combination."""
    curves: dict[tuple[int, int, bool], dict[str, Floats]] = {}
    nulls = dict[tuple[str, str], Floats]()
    for layer in dict.fromkeys(layer for layer, _ in combinations[0].measured):
        rows = [one.rows[one.rows["layer"] == layer].iloc[0] for one in combinations]
        is_rectified = not any(math.isnan(one.measured[layer, "prerelu_excess"].value) for one in combinations)
        found = []
        for units, dimension in ((int(row["units"]), float(row["effective_dimension"])) for row in rows):
            if math.isnan(dimension):
                break
            key = (units, latents_of(units, dimension, is_rectified=is_rectified), is_rectified)
            if key not in curves:
                curves[key] = shared(*key[:2], is_rectified=is_rectified)
            found.append(curves[key])
        if len(found) == len(rows):
            for name in found[0]:
                values = [one.measured[layer, name].value for one in combinations]
                if not np.isnan(values).any():
                    nulls[layer, name] = at_constant([of_one[name] for of_one in found], values)
    return nulls


def study_rows(combinations: Sequence[Combination], nulls: Nulls) -> pd.DataFrame:
    """The rows of all combinations, with ``nulls`` beside what was measured."""
    frames = []
    for place, one in enumerate(combinations):
        rows = one.rows.copy()
        for name in WITH_NULL:
            at = [nulls[key][place] if (key := (layer, name)) in nulls else np.nan for layer in rows["layer"]]
            rows.insert(list(rows).index(f"{name}_high") + 1, f"{name}_null", at)
        frames.append(rows)
    return pd.concat(frames)


def slope_rows(combinations: Sequence[Combination], nulls: Nulls) -> pd.DataFrame:
    """One row per layer, quantity and setting that varies; layers are those of every combination.

    The slope of ``nulls`` is taken for known: its intervals are those of what was measured.
    """
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
            about: dict[str, Any] = {"layer": layer, "quantity": quantity, "against": against}
            ends = {"slope": slope(np.array(values)), "low": interval.low, "high": interval.high}
            null = slope(nulls[layer, quantity]) if (layer, quantity) in nulls else np.nan
            beyond = {name: ends[end] - null for name, end in BEYOND.items()}
            rows.append(about | ends | {"null_slope": null} | beyond)
    return pd.DataFrame(rows)


def _slope(regressors: Floats, place: int, values: Floats) -> float:
    return float(slopes(regressors, values)[place])
