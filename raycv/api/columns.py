"""What is said of two layers, one of each of two networks: the columns of `Comparison.matching` and `alignment`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.arrays import Floats
from raycv.analysis.averages import mean as mean_of
from raycv.analysis.matching import Matching, semi_matching
from raycv.analysis.nulls import best_correlation
from raycv.analysis.origin import SameIndex, same_index
from raycv.analysis.partner_stability import Stability, partner_stability
from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.api.group import Group, TestedPair
from raycv.errors import UserError

PAIR = ["net_a", "layer_a", "net_b", "layer_b"]
Ordered = tuple[int, int]


@dataclass
class PairOfLayers:
    """Members ``at`` of a group, the units of the first against those of the second. ``cross``: correlations."""

    group: Group
    at: Ordered
    cross: Floats
    stable: Stability | None = None

    @cached_property
    def partners(self) -> Matching:
        """The best partners, by absolute correlation."""
        return semi_matching(np.abs(self.cross))

    @cached_property
    def tested(self) -> TestedPair:
        """The same, tested against chance in the place of b's units."""
        return self.group.tested[self.at]

    @cached_property
    def same_index(self) -> SameIndex:
        """How many units of a have the unit of b with their own index for a partner."""
        return same_index(self.partners.columns, ~np.isnan(self.cross).all(0))


def pairs_of(
    group: Group, *, among: Sequence[Ordered] | None = None, stable: bool = False, signed: bool = False
) -> Iterator[PairOfLayers]:
    """All ordered pairs of layers of ``group``, two by two, as one product serves both ways.

    ``among``: some of them, both ways. ``stable``: with the stability of partners, ``signed`` or not.
    """
    for a, b in group.pairs if among is None else among:
        if a < b:
            cross, splits = group.correlations(a, b, halves=stable)
            back = [(first.T, second.T) for first, second in splits]
            there, back_there = (partner_stability(way, signed=signed) if way else None for way in (splits, back))
            yield PairOfLayers(group, (a, b), cross, there)
            yield PairOfLayers(group, (b, a), np.ascontiguousarray(cross.T), back_there)


def _found(pair: PairOfLayers) -> Floats:
    tested = pair.tested
    return np.where(np.isnan(tested.value), np.nan, tested.q_values <= FALSE_DISCOVERIES)


# Columns of ``alignment``. Those from rotated_mean to beyond_chance need rotations.
AVERAGES: dict[str, Callable[[PairOfLayers], float]] = {
    "mean": lambda pair: mean_of(semi_matching(pair.cross).values),
    "mean_absolute": lambda pair: mean_of(best_correlation(pair.cross)),
    "rotated_mean": lambda pair: pair.tested.rotated_mean,
    "excess": lambda pair: mean_of(pair.tested.excess),
    "beyond_chance": lambda pair: mean_of(_found(pair)),
    "linear_cka": lambda pair: float(pair.group.linear_cka[pair.at]),
    "unbiased_cka": lambda pair: float(pair.group.unbiased_cka[pair.at]),
    "partner_stability": lambda pair: mean_of(pair.stable.same) if pair.stable else math.nan,
    "heldout_mean": lambda pair: mean_of(pair.stable.heldout) if pair.stable else math.nan,
    "same_index": lambda pair: pair.same_index.share,
    "same_index_chance": lambda pair: pair.same_index.chance,
    "same_index_p_value": lambda pair: pair.same_index.p_value,
}
OF_MATRICES = ("linear_cka", "unbiased_cka")  # attributes of a group, which need no pair
OF_HALVES = ("partner_stability", "heldout_mean")


def check_average(column: str) -> None:
    """Raise UserError for a column that ``alignment`` does not have."""
    if column not in AVERAGES:
        raise UserError(f"There is no column {column!r}; allowed are {', '.join(AVERAGES)}.")


def averages(group: Group, columns: Sequence[str]) -> pd.DataFrame:
    """One row per ordered pair of layers, with these columns."""
    if set(columns) <= set(OF_MATRICES):
        at = tuple(np.array(group.pairs, dtype=np.int64).reshape(-1, 2).T)
        values: dict[str, Any] = {column: getattr(group, column)[at] for column in columns}
        return about(group, group.pairs).assign(**values)
    stable = bool(set(columns) & set(OF_HALVES))
    found = {pair.at: [AVERAGES[column](pair) for column in columns] for pair in pairs_of(group, stable=stable)}
    rows = pd.DataFrame([found[pair] for pair in group.pairs], columns=list(columns), dtype=np.float64)
    return pd.concat([about(group, group.pairs), rows], axis=1)


def about(group: Group, pairs: Sequence[Ordered]) -> pd.DataFrame:
    """The columns that say what is compared, one row per pair."""
    nets, layers = (np.array(list(names), dtype=object) for names in zip(*group.members, strict=True))
    a, b = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return pd.DataFrame({"net_a": nets[a], "layer_a": layers[a], "net_b": nets[b], "layer_b": layers[b]}).astype("str")


def stacked(group: Group, found: Mapping[Ordered, Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of several tables, by ordered pair and column arrays of one length, below each other."""
    tables = [found[pair] for pair in group.pairs]
    if not tables:
        return pd.DataFrame()
    lengths = [len(next(iter(table.values()))) for table in tables]
    rows = about(group, group.pairs).loc[np.repeat(np.arange(len(tables)), lengths)].reset_index(drop=True)
    return rows.assign(**{name: np.concatenate([table[name] for table in tables]) for name in tables[0]})


def matched(pair: PairOfLayers, units: np.ndarray, *, tested: bool) -> dict[str, np.ndarray]:
    """The columns of a matching: of ``units`` (S_a,), the partners, and of what was tested, which are the same ones."""
    values = np.where(units < 0, np.nan, pair.cross[np.arange(len(units)), units])
    sign = np.nan_to_num(np.sign(values)).astype(np.int64)
    columns = {"unit_a": np.arange(len(units)), "unit_b": units, "value": values, "sign": sign}
    if not tested:
        return columns
    return columns | {
        "rotated_value": pair.tested.rotated,
        "excess": pair.tested.excess,
        "p_value": pair.tested.p_values,
        "q_value": pair.tested.q_values,
    }


def stability_columns(pair: PairOfLayers) -> dict[str, np.ndarray]:
    """partner_stability and heldout_value of every unit of a; NaN where all samples are one fold."""
    found, none = pair.stable, np.full(len(pair.cross), np.nan)
    return {
        "partner_stability": found.same if found else none,
        "heldout_value": found.heldout if found else none,
    }
