"""The summary that `raycv align` prints: the averages of every layer, and whether the run can be trusted."""

from __future__ import annotations

import pandas as pd


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
