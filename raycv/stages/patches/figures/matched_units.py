"""The best and the worst matched units of two networks as pictures (paper, Figures 2, 9 and 11)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.montage import BETWEEN, Blocks, Cell, Row, blocks, explained, montage
from raycv.drawing.style import ends
from raycv.drawing.undrawable import Undrawable

COUNT = 8  # best and as many worst
_NAMES = {"correlation": "correlation", "mutual_information": "mutual information"}
_FORMS = {"correlation": ".2f", "mutual_information": ".3f"}
_UNITS = {"correlation": "", "mutual_information": " (nats)"}


def best_and_worst(matchings: pd.DataFrame, layer: str, net_a: str, net_b: str, similarity: str) -> pd.DataFrame:
    """The eight best and the eight worst pairs of the semi-matching of ``net_a``'s units, by falling similarity.

    Columns ``unit_a``, ``unit_b``, ``value`` and ``is_best``. Units without a partner are left out; where fewer than
    sixteen have one, no pair is both. ``matchings`` is the table of that name, ``similarity`` one of its values.
    """
    chosen = (
        (matchings["layer"] == layer)
        & (matchings["net_a"] == net_a)
        & (matchings["net_b"] == net_b)
        & (matchings["similarity"] == similarity)
        & (matchings["method"] == "semi")
        & (matchings["unit_b"] >= 0)
    )
    rows = matchings.loc[chosen, ["unit_a", "unit_b", "value"]].sort_values(
        ["value", "unit_a"], ascending=[False, True], ignore_index=True
    )
    best = rows.head(min(COUNT, (len(rows) + 1) // 2))
    worst = rows.iloc[len(best) :].tail(COUNT)
    return pd.concat([best.assign(is_best=True), worst.assign(is_best=False)], ignore_index=True)


def paired_units(pairs: pd.DataFrame, net_a: str, net_b: str) -> pd.DataFrame:
    """``net`` and ``unit`` of all units in rows of ``best_and_worst``."""
    return pd.concat(
        pd.DataFrame({"net": net, "unit": pairs[column]}) for net, column in ((net_a, "unit_a"), (net_b, "unit_b"))
    ).drop_duplicates(ignore_index=True)


def matched_units(
    matchings: pd.DataFrame,
    patches: pd.DataFrame,
    pictures: pd.DataFrame,
    layers: Sequence[str],
    net_a: str,
    net_b: str,
    similarity: str = "correlation",
    side: int = 3,
    note: str = "",
) -> Figure:
    """The units of ``best_and_worst`` of every layer, each above its partner, with ``side`` x ``side`` patches each.

    ``matchings``, ``patches`` and ``pictures``: rows of matchings, top_patches and patch_pictures; ``note`` ends the
    caption. Of Figure 9 ``side`` is 3, of Figure 2 it is 1; Figure 11 is by mutual information. Raises Undrawable where
    a layer has no pairs or a unit no pictures.
    """
    rows, best, worst = [], {}, {}
    for layer in layers:
        pairs = best_and_worst(matchings, layer, net_a, net_b, similarity)
        if pairs.empty:
            raise Undrawable(
                f"No unit of {net_a} has a partner in {net_b} by {_NAMES[similarity]} at layer {layer}; leave it out."
            )
        shown = blocks(patches, pictures, layer, paired_units(pairs, net_a, net_b), side)
        rows += _rows(layer, pairs, shown, net_a, net_b, _FORMS[similarity])
        best[layer], worst[layer] = float(pairs["value"].max()), float(pairs["value"].min())
    which = layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
    title = f"Best and worst matches of {net_a} and {net_b} by {_NAMES[similarity]}, {which}"
    form = _FORMS[similarity]
    caption = (
        f"A unit of {net_a} above its best partner in {net_b} (semi-matching) and the {_NAMES[similarity]} of the two"
        f"{_UNITS[similarity]}; up to {COUNT} best and {COUNT} worst pairs of a layer. Best: {ends(best, form)}; "
        f"worst: {ends(worst, form)}. {explained(pictures, side)} {note}"
    ).strip()
    return montage(title, caption, rows, 2 * COUNT + BETWEEN)


def _rows(layer: str, pairs: pd.DataFrame, shown: Blocks, net_a: str, net_b: str, form: str) -> list[Row]:
    upper, lower = [], []
    starts = {True: 0.0, False: COUNT + BETWEEN}
    for is_best, of_half in pairs.groupby("is_best", sort=False):
        columns = (of_half[name].tolist() for name in ("unit_a", "unit_b", "value"))
        for place, (unit_a, unit_b, value) in enumerate(zip(*columns, strict=True)):
            left = starts[bool(is_best)] + place
            upper.append(Cell(left, shown[net_a, unit_a], f"{value:{form}}\nunit {unit_a}"))
            lower.append(Cell(left, shown[net_b, unit_b], f"unit {unit_b}"))
    headings = {0.0: f"{layer}, best", starts[False]: "worst"}
    return [Row(upper, net_a, headings), Row(lower, net_b)]
