"""What groups of units do, and what goes with what one unit does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from raycv.drawing.style import COLOURS, NETS, QUIET, SIGNAL, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_CONTRASTS = {
    "(a) matched and unmatched": ("matched", "unmatched"),
    "(b) recurring and lonely": ("recurring", "lonely"),
}
_COLOURS = (COLOURS["bipartite"], SIGNAL)
_PREDICTORS = {
    "unit_loss_by_partner": ("correlation with partner", NETS[0]),
    "unit_loss_by_partner_given_std": ("same, at equal deviation", NETS[4]),
    "unit_loss_by_excess": ("excess", NETS[2]),
    "unit_loss_by_std": ("standard deviation", NETS[1]),
    "unit_loss_by_mean": ("mean activation", QUIET),
}


def what_units_do(rows: pd.DataFrame) -> Figure:
    """The rise of the loss without as many units of two groups, and the rank correlations of single units.

    ``rows``: the table ablation_by_layer. Raises Undrawable where it is empty.
    """
    if rows.empty:
        raise Undrawable("The table ablation_by_layer has no rows.")
    layers = [str(layer) for layer in dict.fromkeys(rows["layer"])]
    figure = page(3.4, "What units do: the loss without them", _caption(rows))
    *contrasts, last = figure.subplots(1, 3)
    for axes, (title, groups) in zip(contrasts, _CONTRASTS.items(), strict=True):
        for place, (name, colour) in enumerate(zip(groups, _COLOURS, strict=True)):
            _points(axes, rows, layers, f"{name}_even", name, colour, 0.3 * (place - 0.5))
        _finish(axes, layers, title, "rise of the loss (nats)")
    for place, (quantity, (name, colour)) in enumerate(_PREDICTORS.items()):
        _points(last, rows, layers, quantity, name, colour, 0.16 * (place - 2))
    _finish(last, layers, "(c) single units", "rank correlation of the rise with")
    return figure


def _points(
    axes: Axes, rows: pd.DataFrame, layers: list[str], quantity: str, name: str, colour: str, shift: float
) -> None:
    found = rows[rows["quantity"] == quantity].set_index("layer").reindex(layers)
    place = np.arange(len(layers)) + shift
    axes.vlines(place, found["value_low"], found["value_high"], color=colour, linewidth=0.9)
    axes.plot(place, found["value"], "o", color=colour, markersize=3, label=name)


def _finish(axes: Axes, layers: list[str], title: str, scale: str) -> None:
    axes.axhline(0, color="#dddddd", linewidth=0.6, zorder=0)
    label(axes, title, "", scale)
    axes.set_xticks(range(len(layers)), layers, rotation=90)
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    values = values[np.isfinite(values)]
    if len(values):  # long intervals are cut off below the legend
        low, high = float(values.min()), float(values.max())
        room = 0.5 * max(high - low, 0.05)
        shown = Rectangle((0, low - room), 1, high - low + 2 * room, transform=axes.get_yaxis_transform())
        for bars in axes.collections:
            bars.set_clip_path(shown)
        entries = sum(not str(line.get_label()).startswith("_") for line in axes.lines)
        axes.set_ylim(low - room, low - room + (high - low + 2 * room) / (1 - 0.085 * entries))
    open_frame(axes)
    axes.legend(fontsize=TICKS, frameon=False, loc="upper left")


def _caption(rows: pd.DataFrame) -> str:
    means = rows.groupby("quantity")["value"].mean()
    groups = [name for both in _CONTRASTS.values() for name in both if f"{name}_even" in means]
    said = ", ".join(f"{name} {means[f'{name}_even']:.3f}" for name in groups)
    return (
        "(a), (b): rise of the mean validation loss with as many units of two groups set to their mean activation. "
        f"Mean over layers: {said or 'no layer has both groups'}. Matched: mutual best partners in some other network; "
        "recurring: partners above chance in all others, lonely in none. (c): within a network, over its units one by "
        "one. Points: means over networks; bars: 95% over networks, cut off where they are long."
    )
