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


def averages(alignment: pd.DataFrame) -> list[Averages]:
    """The averages of every layer over all ordered pairs of networks, None where the run has none; rows of a table."""
    semi = alignment[alignment["method"] == "semi"]
    by_correlation, informed = (semi[semi["similarity"] == name] for name in ("correlation", "mutual_information"))
    agreement = informed.groupby("layer")["agreement_with_correlation"].mean()
    found = []
    for layer, rows in by_correlation.groupby("layer", sort=False):
        facts: Averages = {name: known(rows[column].mean()) for name, column in AVERAGES.items()}
        for name in EXCESSES:  # how far pairs of networks differ
            values = rows[AVERAGES[name]]
            facts[f"{name}_range"] = [known(values.min()), known(values.max())]
        found.append({"layer": str(layer), **facts, "by_mi": known(agreement.get(layer))})
    return found


def answer(found: Sequence[Averages], output: str | None, broken: Sequence[Any]) -> str:
    """What the run found, in one sentence. ``output``: the layer of the logits, whose units agree by construction."""
    if broken:
        return "This run cannot be trusted: the logits of some networks do not match class by class."
    hidden = [row for row in found if row["layer"] != output] or found
    name = next((name for name in EXCESSES if any(row[name] is not None for row in hidden)), None)
    if name is None:
        return "This run does not say whether units of its networks agree beyond chance."
    rows = [row for row in hidden if row[name] is not None]
    chance = max((row[f"{name}_untrained"] or 0 for row in rows), default=0)
    above = [row for row in rows if row[name] > max(row[f"{name}_untrained"] or 0, 0)]
    if not above:
        return "In no layer do units of two networks agree more than those of untrained networks."
    least, most = (pick(above, key=lambda row: row[name]) for pick in (min, max))
    where = "In every layer" if len(above) == len(rows) else f"In {len(above)} of {len(rows)} layers"
    if len(above) == 1:
        return f"In {most['layer']} units of two networks agree beyond chance, by {most[name]:.3f} in correlation."
    return (
        f"{where}, units of independently trained networks agree beyond chance: by {least[name]:.3f} "
        f"({least['layer']}) to {most[name]:.3f} ({most['layer']}) in correlation, untrained ones by at most "
        f"{chance:.3f}."
    )


def origin(alignment: pd.DataFrame, output: str | None) -> str:
    """Which networks seem to share their first weights, in one sentence; empty where none do."""
    of_units = (alignment["similarity"] == "correlation") & (alignment["method"] == "semi")
    found = shared_origin(alignment[of_units & (alignment["layer"] != output)])
    return f"{found}." if found else ""


def known(value: Any) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if value is None or pd.isna(value) else float(value)
