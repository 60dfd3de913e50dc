"""The most and the least active units of several networks as pictures (paper, Figures 18 and 19)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.analysis.activity import activity_ranking
from raycv.drawing.filters import filter_pictures, smoothness_note
from raycv.drawing.montage import BETWEEN, Cell, Row, blocks, explained, montage
from raycv.drawing.undrawable import Undrawable

COUNT = 8  # most active and as many least active


def extreme_units(units: pd.DataFrame, layer: str) -> pd.DataFrame:
    """The eight most and the eight least active units of every network at ``layer``, by falling mean activation.

    Columns ``net``, ``unit``, ``mean`` and ``is_most``. Units that never fire are left out; where fewer than sixteen
    fire, none is both. ``units`` is the table of that name. Raises Undrawable where the layer has negative means.
    """
    found = []
    for net, of_net in units[units["layer"] == layer].groupby("net", sort=False):
        by_number = of_net.set_index("unit")["mean"].sort_index()
        if (by_number < 0).any():
            raise Undrawable(f"Layer {layer} has units with a negative mean activation; tap layers after their ReLU.")
        ranking = activity_ranking(by_number.to_numpy())
        firing = len(by_number) - len(ranking.silent)
        most = ranking.most_active(min(COUNT, (firing + 1) // 2))
        least = ranking.least_active(min(COUNT, firing // 2))
        for chosen, is_most in ((most, True), (least, False)):
            numbers = by_number.index[chosen]
            rows = {"net": net, "unit": numbers, "mean": by_number.iloc[chosen].to_numpy(), "is_most": is_most}
            found.append(pd.DataFrame(rows))
    if not found:
        raise Undrawable(
            f"The table units has no layer {layer}; it has {', '.join(map(str, units['layer'].unique()))}."
        )
    return pd.concat(found, ignore_index=True)


def extreme_filters(filters: Mapping[str, np.ndarray], units: pd.DataFrame, layer: str) -> Figure:
    """Figure 18: the filters (network -> (S, C, H, W)) of the most and the least active units of the first layer."""
    extremes = extreme_units(units, layer)
    shown = {
        (net, unit): picture
        for net, kernels in filters.items()
        for unit, picture in enumerate(filter_pictures(net, np.asarray(kernels)))
    }
    how = f"Each filter is scaled from its smallest to its largest weight. {smoothness_note(filters)}"
    return _montage(f"Filters of the most and the least active units of {layer}", how, extremes, shown)


def extreme_patches(patches: pd.DataFrame, pictures: pd.DataFrame, units: pd.DataFrame, layer: str) -> Figure:
    """Figure 19: the top patches of the most and the least active units of ``layer``, what drives them beneath.

    ``patches``, ``pictures`` and ``units``: rows of top_patches, patch_pictures and units.
    """
    extremes = extreme_units(units, layer)
    shown = blocks(patches, pictures, layer, extremes)
    return _montage(f"Most and least active units of {layer}", explained(pictures, 3), extremes, shown)


def _montage(title: str, how: str, extremes: pd.DataFrame, shown: Mapping[tuple[str, int], np.ndarray]) -> Figure:
    """One row a network."""
    rows: list[Row] = []
    for net, of_net in extremes.groupby("net", sort=False):
        cells = []
        for is_most, of_half in of_net.groupby("is_most", sort=False):
            start = 0.0 if is_most else COUNT + BETWEEN
            for place, (unit, mean) in enumerate(zip(of_half["unit"].tolist(), of_half["mean"], strict=True)):
                cells.append(Cell(start + place, shown[str(net), unit], f"{mean:.2g}\nunit {unit}"))
        headings = {} if rows else {0.0: "most active", COUNT + BETWEEN: "least active"}
        rows.append(Row(cells, str(net), headings))
    highest = extremes.groupby("net", sort=False)["mean"].max()
    caption = (
        f"Above a unit its mean activation over all validation images. The highest is {highest.max():.2g} "
        f"({highest.idxmax()}) to {highest.min():.2g} ({highest.idxmin()}). Units that never fire are left out. {how}"
    )
    return montage(title, caption, rows, 2 * COUNT + BETWEEN)
