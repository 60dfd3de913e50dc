"""`raycv align`: correlations, matchings and their averages, from the statistics alone (paper, sections 2 and 3.1)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from raycv import record, statistics, tables
from raycv.analysis.matching import Matching, agreement, bipartite_matching, inverse, semi_matching
from raycv.analysis.similarity import jackknife
from raycv.collect.collector import null_of
from raycv.collect.moments import Moments, mean, offsets, variance
from raycv.config import AlignConfig
from raycv.networks import NetworkSpec
from raycv.progress import Progress, say
from raycv.statistics import LayerStatistics, Statistics, correlations
from raycv.store import RunStore

METHODS = ("semi", "bipartite")
Correlations = dict[tuple[int, int], np.ndarray]
Pairs = dict[tuple[int, int, str], Matching]  # (net a, net b, method)


def align(config: AlignConfig, store: RunStore) -> None:
    """Write the tables units, correlations, matchings and alignment of a run, and check its health."""
    began = time.time()
    found = statistics.read(store)
    specs = found.groups["nets"]
    units: list[pd.DataFrame] = []
    matchings: list[pd.DataFrame] = []
    alignment: tables.Rows = []

    def by_layer() -> Iterator[tuple[str, pd.DataFrame]]:
        with Progress("align", len(found.layers), "layers") as progress:
            for layer in found.layers:
                nets, null = found.layer("nets", layer), found.layer("null", layer)
                total, dead = nets.all, nets.dead()
                values = correlations(total, dead)
                pairs = match(values)
                units.append(_units(layer, specs, total, dead))
                matchings.append(_matchings(layer, specs, pairs))
                alignment.extend(_alignment(layer, found, nets, null, pairs))
                yield layer, _correlations(specs, values)
                progress.update(progress.done + 1, layer)

    where = [tables.write_parts(store, "correlations", by_layer())]
    where.append(tables.write(store, "units", pd.concat(units)))
    where.append(tables.write(store, "matchings", pd.concat(matchings)))
    where.append(tables.write(store, "alignment", pd.DataFrame(alignment)))
    broken = broken_pairs(pd.concat(matchings), specs[0].output)
    facts: dict[str, Any] = {
        "seconds": {"align": round(time.time() - began, 1)},
        "health": {"layer": specs[0].output, "broken_pairs": [list(pair) for pair in broken]},
    }
    record.finish(store, "align", found.identity, config.model_dump(mode="json"), facts)
    say(summary(pd.DataFrame(alignment), specs[0].output, broken))
    for uri in where:
        say(f"align: {uri}")


def match(values: Correlations) -> Pairs:
    """Both matchings for every ordered pair of different networks."""
    pairs: Pairs = {}
    for (a, b), similarity in values.items():
        if a == b:
            continue
        pairs[a, b, "semi"] = semi_matching(similarity)
        pairs[b, a, "semi"] = semi_matching(similarity.T)
        pairs[a, b, "bipartite"] = bipartite_matching(similarity)
        pairs[b, a, "bipartite"] = inverse(pairs[a, b, "bipartite"], similarity.shape[1])
    return pairs


def broken_pairs(matchings: pd.DataFrame, output: str) -> list[tuple[str, str]]:
    """Pairs of networks whose logits do not match class by class: images or preprocessing must have got mixed up."""
    logits = matchings[(matchings["layer"] == output) & (matchings["method"] == "bipartite")]
    wrong = logits[(logits["unit_a"] != logits["unit_b"]) & (logits["unit_b"] >= 0)]
    pairs = wrong[["net_a", "net_b"]].drop_duplicates()
    return [(a, b) for a, b in pairs.itertuples(index=False) if a < b]


def summary(alignment: pd.DataFrame, output: str, broken: list[tuple[str, str]]) -> str:
    """The averages per layer over all pairs, and the verdict of the health check, for a person."""
    by_layer = alignment.groupby(["layer", "method"], sort=False)[
        ["mean", "null_mean", "fraction_below_half", "agreement"]
    ].mean()
    lines = [
        "average correlation of matched units over all pairs of networks (untrained networks in brackets)",
        f"  {'layer':<12}{'semi-matching':>18}{'matching':>18}{'no match > 0.5':>18}{'same partner':>16}",
    ]
    for layer in dict.fromkeys(alignment["layer"]):
        semi, one = by_layer.loc[(layer, "semi")], by_layer.loc[(layer, "bipartite")]
        lines.append(
            f"  {layer:<12}{semi['mean']:>10.3f} ({semi['null_mean']:.3f}){one['mean']:>10.3f} ({one['null_mean']:.3f})"
            f"{100 * semi['fraction_below_half']:>17.0f}%{100 * semi['agreement']:>15.0f}%"
        )
    if broken:
        named = ", ".join(f"{a}-{b}" for a, b in broken)
        lines.append(
            f"HEALTH CHECK FAILED: the logits ({output}) of {named} do not match class by class. Either the networks "
            "are barely trained, or the images or the preprocessing of one were mixed up; do not trust these results."
        )
    else:
        lines.append(f"health check: the logits ({output}) of all pairs match class by class")
    return "\n".join(lines)


def _units(layer: str, specs: tuple[NetworkSpec, ...], total: Moments, dead: np.ndarray) -> pd.DataFrame:
    bounds = offsets(total.widths)
    return pd.DataFrame(
        {
            "net": np.repeat([spec.name for spec in specs], total.widths),
            "layer": layer,
            "unit": np.concatenate([np.arange(width) for width in total.widths]),
            "mean": mean(total),
            "std": np.sqrt(variance(total)),
            "active_fraction": total.active / total.count,
            "is_dead": dead,
        },
        index=range(bounds[-1]),
    )


def _correlations(specs: tuple[NetworkSpec, ...], values: Correlations) -> pd.DataFrame:
    parts = []
    for (a, b), matrix in values.items():
        rows, columns = matrix.shape
        parts.append(
            pd.DataFrame(
                {
                    "net_a": specs[a].name,
                    "net_b": specs[b].name,
                    "unit_a": np.repeat(np.arange(rows, dtype=np.int32), columns),
                    "unit_b": np.tile(np.arange(columns, dtype=np.int32), rows),
                    "value": matrix.ravel().astype(np.float32),
                }
            )
        )
    return pd.concat(parts)


def _matchings(layer: str, specs: tuple[NetworkSpec, ...], pairs: Pairs) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "layer": layer,
                "net_a": specs[a].name,
                "net_b": specs[b].name,
                "similarity": "correlation",
                "method": method,
                "unit_a": np.arange(len(matching.columns)),
                "unit_b": matching.columns,
                "value": matching.values,
            }
        )
        for (a, b, method), matching in sorted(pairs.items())
    )


def _alignment(
    layer: str, found: Statistics, nets: LayerStatistics, null: LayerStatistics, pairs: Pairs
) -> tables.Rows:
    """One row per ordered pair and method: the average with its interval, and its null."""
    specs, untrained = found.groups["nets"], found.groups["null"]
    dead = nets.dead()
    replicates = [match(correlations(moments, dead)) for moments in nets.without_each()]
    chance = match(correlations(null.all, null.dead()))
    rows: tables.Rows = []
    for (a, b, method), matching in sorted(pairs.items()):
        average = _average(matching)
        interval = jackknife(average, [_average(replicate[a, b, method]) for replicate in replicates])
        null_pair = (null_of(specs[a], untrained, 0), null_of(specs[b], untrained, 1), method)
        null_mean = _average(chance[null_pair])
        with_partner = matching.values[matching.columns >= 0]
        rows.append(
            {
                "layer": layer,
                "net_a": specs[a].name,
                "net_b": specs[b].name,
                "similarity": "correlation",
                "method": method,
                "units": len(with_partner),
                "mean": average,
                "mean_low": interval.low,
                "mean_high": interval.high,
                "null_mean": null_mean,
                "excess": average - null_mean,
                "fraction_below_half": float((with_partner <= 0.5).mean()) if len(with_partner) else np.nan,
                "agreement": agreement(pairs[a, b, "semi"], pairs[a, b, "bipartite"]),
            }
        )
    return rows


def _average(matching: Matching) -> float:
    """The mean over units that have a partner; NaN where none has."""
    found = matching.values[matching.columns >= 0]
    return float(found.mean()) if len(found) else float("nan")
