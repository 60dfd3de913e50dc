"""Rows of the tables correlations, mutual_information, matchings and alignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.folds import LayerStatistics, correlations
from raycv.analysis.matching import Matching, agreement
from raycv.analysis.similarity import Interval, jackknife
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import NULL
from raycv.stages.align.matched import Pairs, Similarities, match
from raycv.stages.collect.statistics import Statistics

UNDEFINED = Interval(float("nan"), float("nan"))
BEST = 8  # pairs of largest similarity that are followed from one similarity to the other (paper, section 3.2)


def pair_rows(specs: Sequence[NetworkSpec], columns: dict[str, Similarities]) -> Iterator[pd.DataFrame]:
    """For every pair of networks one row per pair of units, with a column for each kind of value."""
    for a, b in columns["value"]:
        rows, width = columns["value"][a, b].shape
        yield pd.DataFrame(
            {
                "net_a": specs[a].name,
                "net_b": specs[b].name,
                "unit_a": np.repeat(np.arange(rows, dtype=np.int32), width),
                "unit_b": np.tile(np.arange(width, dtype=np.int32), rows),
            }
            | {name: values[a, b].ravel().astype(np.float32) for name, values in columns.items()}
        )


def matching_rows(layer: str, specs: Sequence[NetworkSpec], similarity: str, pairs: Pairs) -> pd.DataFrame:
    """The partner of every unit, for every ordered pair of networks and method."""
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
        )
        for (a, b, method), matching in sorted(pairs.items())
    )


def correlation_rows(
    layer: str, found: Statistics, nets: LayerStatistics, null: LayerStatistics, pairs: Pairs
) -> pd.DataFrame:
    """One row per ordered pair and method: the average correlation with its interval, and its null."""
    specs, untrained = found.networks, found.groups[NULL]
    dead = nets.dead()
    replicates = [match(correlations(moments, dead)) for moments in nets.without_each()]
    chance = match(correlations(null.all, null.dead()))
    rows = []
    for (a, b, method), matching in sorted(pairs.items()):
        null_pair = (null_of(specs[a], untrained, 0), null_of(specs[b], untrained, 1), method)
        interval = jackknife(average(matching), [average(replicate[a, b, method]) for replicate in replicates])
        with_partner = matching.values[matching.columns >= 0]
        below = float((with_partner <= 0.5).mean()) if len(with_partner) else np.nan
        about = {"layer": layer, "net_a": specs[a].name, "net_b": specs[b].name, "similarity": "correlation"}
        rows.append(about | {"method": method} | _averages(matching, interval, average(chance[null_pair]), below))
        rows[-1] |= _agreements(pairs, (a, b, method), pairs)
    return pd.DataFrame(rows)


def information_rows(
    layer: str, specs: Sequence[NetworkSpec], pairs: Pairs, chance: Pairs, by_correlation: Pairs
) -> pd.DataFrame:
    """One row per ordered pair and method: the average, its chance, and its agreement with correlation."""
    rows = []
    for (a, b, method), matching in sorted(pairs.items()):
        null_mean = average(chance[a, b, method])
        about = {"layer": layer, "net_a": specs[a].name, "net_b": specs[b].name, "similarity": "mutual_information"}
        rows.append(about | {"method": method} | _averages(matching, UNDEFINED, null_mean, np.nan))
        rows[-1] |= _agreements(pairs, (a, b, method), by_correlation)
    return pd.DataFrame(rows)


def _averages(matching: Matching, interval: Interval, null_mean: float, below: float) -> dict[str, Any]:
    return {
        "units": int((matching.columns >= 0).sum()),
        "mean": average(matching),
        "mean_low": interval.low,
        "mean_high": interval.high,
        "null_mean": null_mean,
        "excess": average(matching) - null_mean,
        "fraction_below_half": below,
    }


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


def average(matching: Matching) -> float:
    """The mean over units that have a partner; NaN where none has."""
    found = matching.values[matching.columns >= 0]
    return float(found.mean()) if len(found) else float("nan")


def null_of(spec: NetworkSpec, untrained_specs: Sequence[NetworkSpec], which: int) -> int:
    """The number, among ``untrained_specs``, of the first or second untrained network built like ``spec``."""
    alike = [n for n, s in enumerate(untrained_specs) if (s.model, s.width) == (spec.model, spec.width)]
    return alike[which]
