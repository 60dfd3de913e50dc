"""The first screen in numbers: the averages of every layer, and the answer in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from raycv.run.origin import shared_origin

AVERAGES = {  # the page's names of the columns of `alignment`, averaged over pairs of networks
    "correlation": "mean",
    "correlation_untrained": "untrained_mean",
    "after": "excess",
    "after_untrained": "untrained_excess",
    "before": "prerelu_excess",
    "before_untrained": "untrained_prerelu_excess",
    "beyond_chance": "beyond_chance",
    "beyond_chance_untrained": "untrained_beyond_chance",
    "estimated_share": "estimated_share",
    "estimated_share_untrained": "untrained_estimated_share",
    "one_to_one": "agreement",
    "halves": "partner_stability",
    "same_index": "same_index",
    "same_index_chance": "same_index_chance",
}
EXCESSES = ("before", "after")  # the stricter one first: mixtures that pass the non-linearity as units do

Averages = dict[str, Any]


INTERVALS = {  # the page's names of the quantities of `alignment_by_layer` that have an interval over networks
    ("correlation", "mean"): "correlation",
    ("correlation", "excess"): "after",
    ("correlation", "prerelu_excess"): "before",
    ("correlation", "beyond_chance"): "beyond_chance",
    ("correlation", "estimated_share"): "estimated_share",
    ("correlation", "agreement"): "one_to_one",
    ("correlation", "partner_stability"): "halves",
    ("mutual_information", "agreement_with_correlation"): "by_mi",
}


def averages(alignment: pd.DataFrame, by_layer: pd.DataFrame | None = None) -> list[Averages]:
    """The averages of every layer over all ordered pairs of networks, None where the run has none; rows of a table.

    With the intervals over networks that stand in the table ``by_layer``, alignment_by_layer.
    """
    intervals = {} if by_layer is None else _intervals(by_layer)
    semi = alignment[alignment["method"] == "semi"]
    by_correlation, informed = (semi[semi["similarity"] == name] for name in ("correlation", "mutual_information"))
    agreement = informed.groupby("layer")["agreement_with_correlation"].mean()
    found = []
    for layer, rows in by_correlation.groupby("layer", sort=False):
        facts: Averages = {name: known(rows[column].mean()) for name, column in AVERAGES.items()}
        for name in EXCESSES:  # how far pairs of networks differ
            values = rows[AVERAGES[name]]
            facts[f"{name}_range"] = [known(values.min()), known(values.max())]
        facts |= {"by_mi": known(agreement.get(layer)), "intervals": intervals.get(str(layer), {})}
        found.append({"layer": str(layer), **facts})
    return found


def _intervals(by_layer: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """By layer and name the ends of the intervals over networks, of those that are known."""
    found: dict[str, dict[str, list[float]]] = {}
    semi = by_layer[(by_layer["method"] == "semi") & by_layer["networks_low"].notna()]
    columns = ["layer", "similarity", "quantity", "networks_low", "networks_high"]
    for layer, similarity, quantity, low, high in semi[columns].itertuples(index=False, name=None):
        name = INTERVALS.get((similarity, quantity))
        if name:
            found.setdefault(str(layer), {})[name] = [float(low), float(high)]
    return found


def answer(found: Sequence[Averages], output: str | None, broken: Sequence[Any]) -> str:
    """What the run found, in one sentence. ``output``: the layer of the logits, whose units agree by construction."""
    if broken:
        return "This run cannot be trusted: the logits of some networks do not match class by class."
    hidden = [row for row in found if row["layer"] != output] or found
    name = next((name for name in EXCESSES if any(row[name] is not None for row in hidden)), None)
    if name is None:
        return "This run does not say whether units of its networks correlate above chance."
    rows = [row for row in hidden if row[name] is not None]
    chance = max((row[f"{name}_untrained"] or 0 for row in rows), default=0)
    above = [row for row in rows if row[name] > max(row[f"{name}_untrained"] or 0, 0)]
    if not above:
        return "In no layer do units of two networks correlate more, above chance, than those of untrained networks."
    least, most = (pick(above, key=lambda row: row[name]) for pick in (min, max))
    where = "In every layer" if len(above) == len(rows) else f"In {len(above)} of {len(rows)} layers"
    over = f"more than with units mixed {name} the non-linearity; units of untrained networks by at most {chance:.3f}."
    if len(above) == 1:
        return f"In {most['layer']} units of two networks correlate with their best partner by {most[name]:.3f} {over}"
    return (
        f"{where}, units of independently trained networks correlate with their best partner by {least[name]:.3f} "
        f"({least['layer']}) to {most[name]:.3f} ({most['layer']}) {over}"
    )


def origin(alignment: pd.DataFrame, output: str | None) -> str:
    """Which networks seem to share their first weights, in one sentence; empty where none do."""
    of_units = (alignment["similarity"] == "correlation") & (alignment["method"] == "semi")
    found = shared_origin(alignment[of_units & (alignment["layer"] != output)])
    return f"{found}." if found else ""


def known(value: Any) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if value is None or pd.isna(value) else float(value)
