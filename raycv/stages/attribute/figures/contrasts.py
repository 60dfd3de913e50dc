"""Differences between cells, of all layers in one figure; and what the cells give, layer by layer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.drawing.style import QUIET, SIGNAL, TICKS, label, open_frame, page, shade
from raycv.drawing.undrawable import Undrawable

_PANELS = {
    "prerelu_excess": "(a) excess, mixed before the ReLU",
    "estimated_share": "(b) share of units with a partner",
    "debiased_cka": "(c) CKA, unbiased",
    "correlation": "(d) largest correlation",
}
_WITHOUT = {**_PANELS, "excess": "(a) excess, mixed after the ReLU"}  # in a layer without a ReLU
_AMONG = 0.6  # of the height of a row, for its layers


def contrasts_of_all(contrasts: pd.DataFrame) -> Figure:
    """By how much every cell differs from the one that it is compared with, one colour per layer.

    ``contrasts`` is the table attribution. Raises Undrawable where it is empty.
    """
    if not len(contrasts):
        raise Undrawable("The table attribution is empty.")
    layers = list(dict.fromkeys(contrasts["layer"]))
    names = [f"{cell} − {against}" for cell, against in _kinds(contrasts)]
    found = int((contrasts["q_value"] <= FALSE_DISCOVERIES).sum())
    caption = (
        "Points: mean over pairs of networks of a cell less that of another; excess: of correlations with the best "
        "partner over units mixed before the ReLU. Bars: 95% interval over networks. Filled: a difference at a false "
        f"discovery rate of {FALSE_DISCOVERIES:.0%} among all layers and cells of the measure "
        f"({found} of {len(contrasts)}, of all measures). An open point says that a difference is not known."
    )
    figure = page(2.2 + 0.52 * len(names), "What makes networks converge: differences between cells", caption)
    panels = figure.subplots(2, 2, sharey=True).ravel()
    for axes, (measure, title) in zip(panels, _PANELS.items(), strict=True):
        rows = contrasts[contrasts["measure"] == measure]
        for row in rows.to_dict("records"):
            place, among = layers.index(row["layer"]), len(layers) - 1
            y = names.index(f"{row['cell']} − {row['against']}") + _AMONG * (place / max(among, 1) - 0.5)
            is_found = bool(row["q_value"] <= FALSE_DISCOVERIES)
            _point(axes, row, "difference", y, shade(place, len(layers)), is_found)
        _finish(axes, title, names)
    handles = [
        axes.plot([], [], "o", color=shade(n, len(layers)), markersize=3, label=layer)[0]
        for n, layer in enumerate(layers)
    ]
    figure.legend(handles=handles, fontsize=TICKS, frameon=False, loc="outside right upper")
    return figure


def values_of_layer(cells: pd.DataFrame, layer: str) -> Figure:
    """What the networks of every cell have in common in one layer; an interval without 0 is marked.

    ``cells`` is the table attribution_cells. Raises Undrawable for a layer that it does not have.
    """
    rows = cells[cells["layer"] == layer]
    if not len(rows):
        raise Undrawable(f"The table attribution_cells has no layer {layer}.")
    names = [str(cell) for cell in dict.fromkeys(rows["cell"])]
    caption = (
        "Means over pairs of networks of every cell. Bars: 95% interval over networks, one cell at a time. Filled: an "
        "interval without 0. Of untrained networks excess and share are to be 0, largest correlation and CKA are not."
    )
    figure = page(2.2 + 0.32 * len(names), f"{layer}: what networks have in common, cell by cell", caption)
    there = set(rows["measure"])
    shown = {m: _WITHOUT[m] for m in ("prerelu_excess", *list(_PANELS)[1:])}
    if "prerelu_excess" not in there:
        shown = {"excess": _WITHOUT["excess"], **{m: title for m, title in shown.items() if m != "prerelu_excess"}}
    for axes, (measure, title) in zip(figure.subplots(2, 2, sharey=True).ravel(), shown.items(), strict=True):
        for row in rows[rows["measure"] == measure].to_dict("records"):
            is_found = bool(row["low"] > 0 or row["high"] < 0)
            _point(axes, row, "value", names.index(row["cell"]), SIGNAL, is_found)
        _finish(axes, title, names)
    return figure


def _kinds(contrasts: pd.DataFrame) -> list[tuple[str, str]]:
    pairs = contrasts[["cell", "against"]].drop_duplicates()
    return [(str(cell), str(against)) for cell, against in pairs.itertuples(index=False)]


def _point(axes: Axes, row: Mapping[Hashable, Any], column: str, y: float, colour: ColorType, is_found: bool) -> None:
    axes.hlines(y, row["low"], row["high"], color=colour, linewidth=1, alpha=0.6)
    axes.plot([row[column]], [y], "o", color=colour, markersize=3, markerfacecolor=colour if is_found else "white")


def _finish(axes: Axes, title: str, names: list[str]) -> None:
    axes.axvline(0, color=QUIET, linewidth=0.6)
    label(axes, title, "", "")
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(labelsize=TICKS)
    open_frame(axes)
