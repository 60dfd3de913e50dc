"""Rows of the tables correlations, mutual_information, matchings and alignment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from raycv.analysis.matching import Matching, agreement
from raycv.analysis.partners import Partners
from raycv.analysis.similarity import jackknife
from raycv.networks.spec import NetworkSpec
from raycv.run.schema import BY_NAME
from raycv.stages.align.comparison import Compared, Informed, PairValues
from raycv.stages.align.excess import Columns, average
from raycv.stages.align.matching import Pairs

ROWS = 2**20  # of a pair table made at once
BEST = 8  # pairs of largest similarity that are followed from one similarity to the other (paper, section 3.2)


def pair_rows(specs: Sequence[NetworkSpec], found: PairValues) -> Iterator[pa.Table]:
    """One row per pair of units, with a column for each kind of value, a million rows or a few more at a time."""
    names = specs[found.a].name, specs[found.b].name
    if found.units is not None:
        yield _pair_rows(names, found.units[0], found.units[1], found.columns)
        return
    rows, width = found.columns["value"].shape
    step = max(1, ROWS // width)
    for first in range(0, rows, step):
        units = np.arange(first, min(first + step, rows), dtype=np.int32)
        columns = {name: values[units[0] : units[-1] + 1].ravel() for name, values in found.columns.items()}
        yield _pair_rows(names, np.repeat(units, width), np.tile(np.arange(width, dtype=np.int32), len(units)), columns)


def _pair_rows(
    names: tuple[str, str], unit_a: np.ndarray, unit_b: np.ndarray, columns: dict[str, np.ndarray]
) -> pa.Table:
    net_a, net_b = (pa.repeat(pa.scalar(name), len(unit_a)) for name in names)
    return pa.table({"net_a": net_a, "net_b": net_b, "unit_a": unit_a, "unit_b": unit_b, **columns})


def matching_rows(
    layer: str,
    specs: Sequence[NetworkSpec],
    similarity: str,
    pairs: Pairs,
    partners: Mapping[tuple[int, int], Partners] | None = None,
) -> pd.DataFrame:
    """The partner of every unit, for every ordered pair of networks and method.

    ``partners``: what is more than chance in the semi-matchings of correlations.
    """
    return pd.concat(
        pd.DataFrame(
            {
                "layer": layer,
                "net_a": specs[a].name,
                "net_b": specs[b].name,
                "similarity": similarity,
                "method": method,
                "unit_a": np.arange(len(matching.columns)),
                "unit_b": matching.columns,
                "value": matching.values,
            }
            | _significance(partners[a, b] if partners and method == "semi" else None)
        )
        for (a, b, method), matching in sorted(pairs.items())
    )


def _significance(partners: Partners | None) -> dict[str, Any]:
    if partners is None:
        return dict.fromkeys(("rotated_value", "excess", "p_value", "q_value"), np.nan)
    return {
        "rotated_value": partners.whole.unit_mean,
        "excess": partners.excess,
        "p_value": partners.p_values,
        "q_value": partners.q_values,
    }


def correlation_rows(
    layer: str,
    specs: Sequence[NetworkSpec],
    found: Compared,
    untrained: Callable[[NetworkSpec, NetworkSpec, str], Columns],
) -> pd.DataFrame:
    """One row per ordered pair and method: the average correlation with its interval, and what chance gives."""
    rows = []
    for key, matching in sorted(found.pairs.items()):
        a, b, method = key
        interval = jackknife(average(matching), [average(replicate.pairs[key]) for replicate in found.replicates])
        row = _row(layer, specs, "correlation", key, matching) | found.beyond[key]
        row |= untrained(specs[a], specs[b], method) | {"mean_low": interval.low, "mean_high": interval.high}
        with_partner = matching.values[matching.columns >= 0]
        row["fraction_below_half"] = float((with_partner <= 0.5).mean()) if len(with_partner) else np.nan
        if method == "semi":
            interval = jackknife(row["excess"], [replicate.excess[a, b] for replicate in found.replicates])
            row |= {"excess_low": interval.low, "excess_high": interval.high}
            row |= {"one_unit_share": found.share[a, b] if found.share else np.nan}
        rows.append(row | _agreements(found.pairs, key, found.pairs))
    return pd.DataFrame(rows)


def information_rows(layer: str, specs: Sequence[NetworkSpec], found: Informed, by_correlation: Pairs) -> pd.DataFrame:
    """One row per ordered pair and method: the average, what chance gives, and its agreement with correlation."""
    return pd.DataFrame(
        _row(layer, specs, "mutual_information", key, matching)
        | found.beyond[key]
        | _agreements(found.pairs, key, by_correlation)
        for key, matching in sorted(found.pairs.items())
    )


def _row(
    layer: str, specs: Sequence[NetworkSpec], similarity: str, key: tuple[int, int, str], matching: Matching
) -> dict[str, Any]:
    """The columns that every row has; those that a row does not are NaN."""
    a, b, method = key
    about = {"layer": layer, "net_a": specs[a].name, "net_b": specs[b].name, "similarity": similarity, "method": method}
    undefined = dict.fromkeys([column.name for column in BY_NAME["alignment"].columns], np.nan)
    return undefined | about | {"units": int((matching.columns >= 0).sum()), "mean": average(matching)}


def _agreements(pairs: Pairs, key: tuple[int, int, str], by_correlation: Pairs) -> dict[str, Any]:
    a, b, _ = key
    return {
        "agreement": agreement(pairs[a, b, "semi"], pairs[a, b, "bipartite"]),
        "agreement_with_correlation": agreement(pairs[key], by_correlation[key]),
        "best_eight_kept": best_kept(by_correlation[key], pairs[key]),
    }


def best_kept(reference: Matching, other: Matching, best: int = BEST) -> int:
    """How many of the ``best`` pairs of largest value in ``reference`` are pairs of ``other`` (paper, section 3.2)."""
    order = np.argsort(-reference.values, kind="stable")  # NaN, where there is no partner, comes last
    rows = order[: min(best, int((reference.columns >= 0).sum()))]
    return int((reference.columns[rows] == other.columns[rows]).sum())
