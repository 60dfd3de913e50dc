"""Accuracy of networks without some of their units."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from raycv.drawing.style import COLOURS, NETS, QUIET, TEXT, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_ORDERS = {  # name, colour, dashes
    "partner_low": ("least alike first", NETS[0], "-"),
    "partner_high": ("most alike first", NETS[5], "-"),
    "excess_low": ("least excess first", NETS[4], "--"),
    "redundancy": ("most redundant first", COLOURS["bipartite"], "-"),
    "weights": ("smallest weights first", NETS[1], "--"),
    "activation": ("least active first", NETS[3], "--"),
    "random": ("at random", QUIET, ":"),
}
_WITH_INTERVALS = ("partner_low", "random")
_MOST = 8  # layers that are drawn


def without_units(rows: pd.DataFrame) -> Figure:
    """The change of accuracy against the fraction of a layer's units removed, for every order and layer.

    ``rows``: the table pruning_by_layer. Raises Undrawable where it is empty.
    """
    if rows.empty:
        raise Undrawable("The table pruning_by_layer has no rows.")
    layers = [str(layer) for layer in dict.fromkeys(rows["layer"])][:_MOST]
    figure = page(4.4, "Accuracy without some of a layer’s units", _caption(rows))
    grid = figure.subplots(2, len(layers), sharex=True, sharey=True, squeeze=False)
    for panels, made_up in zip(grid, (False, True), strict=True):
        for axes, layer in zip(panels, layers, strict=True):
            of_layer = rows[(rows["layer"] == layer) & (rows["compensated"] == made_up)]
            _curves(axes, of_layer)
            label(axes, "" if made_up else layer, "", "")
            axes.set_ylim(-0.65, 0.05)
            axes.set_xlim(0, 1)
            axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=""))
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
        panels[0].set_ylabel("with compensation" if made_up else "without", fontsize=TEXT)
    names = grid[0, 0].get_legend_handles_labels()
    figure.legend(*names, fontsize=TICKS, frameon=False, loc="outside right center")
    return figure


def _curves(axes: Axes, rows: pd.DataFrame) -> None:
    axes.axhline(0, color="#dddddd", linewidth=0.6)
    for order, (name, colour, dashes) in _ORDERS.items():
        curve = rows[rows["removal_order"] == order].sort_values("fraction")
        if order in _WITH_INTERVALS:
            low, high = curve["top1_change_low"], curve["top1_change_high"]
            axes.fill_between(curve["fraction"], low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            curve["fraction"],
            curve["top1_change"],
            dashes,
            marker=".",
            markersize=3,
            color=colour,
            linewidth=1.1,
            label=name,
        )
    open_frame(axes)


def _caption(rows: pd.DataFrame) -> str:
    fractions = sorted(rows["fraction"].unique())
    middle = min(fractions, key=lambda fraction: abs(fraction - 0.5))
    at = rows[(rows["fraction"] == middle)]
    means = at.groupby(["removal_order", "compensated"])["top1_change"].mean()

    def points(order: str, made_up: bool) -> str:
        return f"{100 * means[order, made_up]:+.1f}"

    plain, compensated = (
        ", ".join(
            (
                f"{points('random', made_up)} at random",
                f"{points('partner_low', made_up)} least alike first",
                f"{points('partner_high', made_up)} most alike first",
            )
        )
        for made_up in (False, True)
    )
    return (
        "Change of validation top-1, in points, against the percentage of units removed; means over networks, shaded: "
        f"95% over networks. With {middle:.0%} of a layer’s units removed, mean over layers: {plain}; compensated by "
        f"the units that stay: {compensated}. Alike: correlation with the best partner in other networks."
    )
