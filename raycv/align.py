"""`raycv align`: correlations, matchings and their averages, from the statistics alone (paper, sections 2 and 3.1)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from raycv import patch_tables, record, statistics, tables
from raycv.analysis.activity import activity_ranking, activity_spread
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
Similarities = dict[tuple[int, int], np.ndarray]  # networks a <= b -> (S_a, S_b)
Pairs = dict[tuple[int, int, str], Matching]  # (net a, net b, method)


def align(config: AlignConfig, store: RunStore) -> None:
    """Write the tables of this stage (see `raycv tables`) and check the run's health."""
    began = time.time()
    found = statistics.read(store)
    specs = found.groups["nets"]
    units: list[pd.DataFrame] = []
    matchings: list[pd.DataFrame] = []
    alignment: tables.Rows = []
    activity: tables.Rows = []

    def correlated() -> Iterator[tuple[str, str, pd.DataFrame]]:
        for layer in found.layers:
            progress.update(progress.done, f"correlation of {layer}")
            nets, null = found.layer("nets", layer), found.layer("null", layer)
            total, dead = nets.all, nets.dead()
            values = correlations(total, dead)
            pairs = match(values)
            units.append(_units(layer, specs, total, dead))
            activity.extend(_activity(layer, specs, total))
            matchings.append(_matchings(layer, specs, "correlation", pairs))
            alignment.extend(_alignment(layer, found, nets, null, pairs))
            of_layer[layer] = pairs, dead
            yield from _pair_rows(layer, specs, {"value": values})
            progress.update(progress.done + 1)

    def informed() -> Iterator[tuple[str, str, pd.DataFrame]]:
        for layer in found.layers:
            progress.update(progress.done, f"mutual information of {layer}")
            by_correlation, dead = of_layer[layer]
            values = informations(found, layer, dead)
            pairs = match(values["value"])
            matchings.append(_matchings(layer, specs, "mutual_information", pairs))
            alignment.extend(_information_rows(layer, specs, pairs, match(values["null_value"]), by_correlation))
            yield from _pair_rows(layer, specs, values)
            progress.update(progress.done + 1)

    of_layer: dict[str, tuple[Pairs, np.ndarray]] = {}
    with Progress("align", 2 * len(found.layers), "layers") as progress:
        where = [
            tables.write_parts(store, "correlations", correlated()),
            tables.write_parts(store, "mutual_information", informed()),
        ]
    rows = pd.DataFrame(alignment)
    where.append(tables.write(store, "units", pd.concat(units)))
    where.append(
        tables.write(store, "activity", pd.DataFrame(activity, columns=tables.BY_NAME["activity"].schema.names))
    )
    where.append(tables.write(store, "matchings", pd.concat(matchings)))
    where.append(tables.write(store, "alignment", rows))
    where.append(tables.write(store, "top_patches", patch_tables.top_patches(found)))
    semi = {layer: pairs[0, 1, "semi"] for layer, (pairs, _) in of_layer.items()}
    where.append(tables.write(store, "joint_activations", patch_tables.joint_activations(found, semi)))
    broken = broken_pairs(pd.concat(matchings), specs[0].output)
    facts: dict[str, Any] = {
        "seconds": {"align": round(time.time() - began, 1)},
        "health": {"layer": specs[0].output, "broken_pairs": [list(pair) for pair in broken]},
    }
    record.finish(store, "align", record.fingerprint(found.folder), config.model_dump(mode="json"), facts)
    say(summary(rows, specs[0].output, broken))
    for uri in where:
        say(f"align: {uri}")


def informations(found: Statistics, layer: str, dead: np.ndarray) -> dict[str, Similarities]:
    """Mutual information of every pair of networks a <= b: value, value_corrected, null_value; NaN where dead."""
    networks = range(len(found.groups["nets"]))
    result: dict[str, Similarities] = {"value": {}, "value_corrected": {}, "null_value": {}}
    widths = [found.information(layer, n, n)["value"].shape[0] for n in networks]
    bounds = offsets(widths)
    alive = [~dead[bounds[n] : bounds[n + 1]] for n in networks]
    for a in networks:
        for b in networks[a:]:
            arrays = found.information(layer, a, b)
            both = np.outer(alive[a], alive[b])
            for column, name in (("value", "value"), ("value_corrected", "corrected"), ("null_value", "null")):
                values = arrays.get(name, np.full(both.shape, np.nan))
                result[column][a, b] = np.where(both, values, np.nan)
    return result


def match(values: Similarities) -> Pairs:
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
    logits = matchings[
        (matchings["layer"] == output)
        & (matchings["method"] == "bipartite")
        & (matchings["similarity"] == "correlation")
    ]
    wrong = logits[(logits["unit_a"] != logits["unit_b"]) & (logits["unit_b"] >= 0)]
    pairs = wrong[["net_a", "net_b"]].drop_duplicates()
    return [(a, b) for a, b in pairs.itertuples(index=False) if a < b]


def summary(alignment: pd.DataFrame, output: str, broken: list[tuple[str, str]]) -> str:
    """The averages per layer over all pairs, and the verdict of the health check, for a person."""
    columns = ["mean", "null_mean", "fraction_below_half", "agreement", "agreement_with_correlation"]
    averages = alignment.groupby(["similarity", "layer", "method"], sort=False)[columns].mean()
    by_layer, informed = averages.loc["correlation"], averages.loc["mutual_information"]
    lines = [
        "average correlation of matched units over all pairs of networks (untrained networks in brackets)",
        f"  {'layer':<12}{'semi-matching':>18}{'matching':>18}{'no match > 0.5':>18}"
        f"{'same partner':>16}{'same by MI':>14}",
    ]
    for layer in dict.fromkeys(alignment["layer"]):
        semi, one = by_layer.loc[(layer, "semi")], by_layer.loc[(layer, "bipartite")]
        lines.append(
            f"  {layer:<12}{semi['mean']:>10.3f} ({semi['null_mean']:.3f}){one['mean']:>10.3f} ({one['null_mean']:.3f})"
            f"{100 * semi['fraction_below_half']:>17.0f}%{100 * semi['agreement']:>15.0f}%"
            f"{100 * informed.loc[(layer, 'semi'), 'agreement_with_correlation']:>13.0f}%"
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


def _activity(layer: str, specs: tuple[NetworkSpec, ...], total: Moments) -> tables.Rows:
    """One row per network; none for a layer of negative means (not after a ReLU) or with a network that never fires."""
    bounds = offsets(total.widths)
    means = [mean(total)[bounds[n] : bounds[n + 1]] for n in range(len(specs))]
    # A silent unit's mean is its pilot plus a sum that takes the pilot away again: 0 but for rounding.
    firing = [(total.active[bounds[n] : bounds[n + 1]] > 0) & (means[n] > 0) for n in range(len(specs))]
    means = [np.where(fires, values, 0.0) for fires, values in zip(firing, means, strict=True)]
    if (total.minimum < 0).any() or not all(fires.any() for fires in firing):
        return []
    spread = activity_spread(means)
    return [
        {
            "layer": layer,
            "net": spec.name,
            "units": int(firing[n].sum()),
            "silent": len(activity_ranking(means[n]).silent),
            "highest": spread.highest[n],
            "lowest": spread.lowest[n],
            "decades": spread.decades[n],
            "distance": spread.distance[n].sum() / max(len(specs) - 1, 1),
            "top_ratio": spread.top_ratio,
            "typical_ratio": spread.typical_ratio,
        }
        for n, spec in enumerate(specs)
    ]


def _pair_rows(
    layer: str, specs: tuple[NetworkSpec, ...], columns: dict[str, Similarities]
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """For every pair of networks one row per pair of units, with a column for each kind of value."""
    for a, b in columns["value"]:
        first, second = specs[a].name, specs[b].name
        rows, width = columns["value"][a, b].shape
        frame = pd.DataFrame(
            {
                "net_a": first,
                "net_b": second,
                "unit_a": np.repeat(np.arange(rows, dtype=np.int32), width),
                "unit_b": np.tile(np.arange(width, dtype=np.int32), rows),
            }
            | {name: values[a, b].ravel().astype(np.float32) for name, values in columns.items()}
        )
        yield layer, f"{first}-{second}", frame


def _matchings(layer: str, specs: tuple[NetworkSpec, ...], similarity: str, pairs: Pairs) -> pd.DataFrame:
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
                "agreement_with_correlation": 1.0,
                "best_eight_kept": best_kept(matching, matching),
            }
        )
    return rows


def _information_rows(
    layer: str, specs: tuple[NetworkSpec, ...], pairs: Pairs, chance: Pairs, by_correlation: Pairs
) -> tables.Rows:
    """One row per ordered pair and method: the average, its chance, and how far it agrees with correlation."""
    rows: tables.Rows = []
    for (a, b, method), matching in sorted(pairs.items()):
        average, null_mean = _average(matching), _average(chance[a, b, method])
        rows.append(
            {
                "layer": layer,
                "net_a": specs[a].name,
                "net_b": specs[b].name,
                "similarity": "mutual_information",
                "method": method,
                "units": int((matching.columns >= 0).sum()),
                "mean": average,
                "mean_low": np.nan,
                "mean_high": np.nan,
                "null_mean": null_mean,
                "excess": average - null_mean,
                "fraction_below_half": np.nan,
                "agreement": agreement(pairs[a, b, "semi"], pairs[a, b, "bipartite"]),
                "agreement_with_correlation": agreement(matching, by_correlation[a, b, method]),
                "best_eight_kept": best_kept(by_correlation[a, b, method], matching),
            }
        )
    return rows


def best_kept(reference: Matching, other: Matching, best: int = 8) -> int:
    """Of the ``best`` pairs of largest value in ``reference``, how many are pairs of ``other`` (paper, section 3.2)."""
    order = np.argsort(-reference.values, kind="stable")  # NaN, where there is no partner, comes last
    rows = order[: min(best, int((reference.columns >= 0).sum()))]
    return int((reference.columns[rows] == other.columns[rows]).sum())


def _average(matching: Matching) -> float:
    """The mean over units that have a partner; NaN where none has."""
    found = matching.values[matching.columns >= 0]
    return float(found.mean()) if len(found) else float("nan")
