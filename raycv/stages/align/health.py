"""The summary that `raycv align` prints: the averages of every layer, and whether the run can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from raycv.progress import answer
from raycv.run import record, tables
from raycv.run.origin import shared_origin
from raycv.run.store import RunStore

NAMED = 6  # pairs; with many networks all would fill a page


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


def verdict(layer: str, broken: Sequence[Sequence[str]]) -> str:
    """What it means that the logits of some pairs do not match; `NAMED` of them are named."""
    named = ", ".join("-".join(pair) for pair in broken[:NAMED])
    if len(broken) > NAMED:
        named += f" and {len(broken) - NAMED} other pairs"
    return (
        f"the health check failed: the logits ({layer}) of {named} do not match class by class, so either the networks "
        "are barely trained, or the images or the preprocessing of one were mixed up; do not trust these results"
    )


def summary(alignment: pd.DataFrame, output: str | None, broken: list[tuple[str, str]]) -> str:
    """The averages per layer over all pairs, and whether the health check passed, for a person.

    ``output``: the layer of the logits, if there is one that can be checked.
    """
    semi = alignment[alignment["method"] == "semi"].groupby(["similarity", "layer"], sort=False).mean(numeric_only=True)
    wide = max(12, *(len(str(layer)) + 1 for layer in dict.fromkeys(alignment["layer"])))
    lines = [
        "correlation of units with their best partner in another network, and its excess over random mixtures of that",
        "network's units, mixed after the non-linearity or before it (in brackets: the same of untrained networks)",
        f"  {'layer':<{wide}}{'correlation':>16}{'excess, after':>19}{'excess, before':>19}{'beyond chance':>15}"
        f"{'one to one':>12}{'by MI':>7}{'halves':>8}",
    ]
    for layer in dict.fromkeys(alignment["layer"]):
        row, informed = semi.loc[("correlation", layer)], semi.loc[("mutual_information", layer)]
        lines.append(
            f"  {layer:<{wide}}{_both(row['mean'], row['untrained_mean'], '.3f'):>16}"
            f"{_both(row['excess'], row['untrained_excess'], '+z.3f'):>19}"
            f"{_both(row['prerelu_excess'], row['untrained_prerelu_excess'], '+z.3f'):>19}"
            f"{_both(row['beyond_chance'], row['untrained_beyond_chance'], '.0%'):>15}"
            f"{row['agreement']:>12.0%}{informed['agreement_with_correlation']:>7.0%}"
            f"{_share(row['partner_stability']):>8}"
        )
    classes = f"; units of {output} are classes by construction" if output else ""
    lines += [
        "beyond chance: units that can be said to have a partner, at a false discovery rate of 5%; one to one, by MI:",
        f"units with the same partner when matched one to one, and by mutual information{classes};",
        "halves: units with the same partner in two halves of the images, to compare the other two with",
    ]
    hidden = alignment[(alignment["similarity"] == "correlation") & (alignment["method"] == "semi")]
    shared = shared_origin(hidden[hidden["layer"] != output])
    if shared:
        lines.append(shared)
    if output and not broken:  # `verdict` says what else it means
        lines.append(f"health check: the logits ({output}) of all pairs match class by class")
    return "\n".join(lines)


def _share(value: float) -> str:
    return f"{value:.0%}" if pd.notna(value) else "-"


def _both(value: float, untrained: float, form: str) -> str:
    """A value and, in brackets, the same of untrained networks where there are some; a dash where it is not defined."""
    beside = f" ({untrained:{form}})" if pd.notna(untrained) else ""
    return f"{value:{form}}{beside}" if pd.notna(value) else "-"


def answered(store: RunStore) -> str:
    """Print the numbers in which a run ends, and where to look further; what its health check says, if anything."""
    health = record.read(store)["stages"]["align"]["health"]
    pairs = [(a, b) for a, b in health["broken_pairs"]]
    answer(summary(tables.read(store, "alignment"), health["layer"], pairs))
    if store.exists("report.html"):
        answer(f"report: {store.locate('report.html')}")
    answer(f"tables: pandas.read_parquet({store.locate('tables/alignment')!r}), and others beside it")
    if store.exists("figures"):
        answer(f"figures: {store.locate('figures')}")
    return verdict(health["layer"], pairs) if pairs else ""
