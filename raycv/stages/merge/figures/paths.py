"""Loss and accuracy on the way from one network to another."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import COLOURS, NETS, QUIET, SIGNAL, TICKS, counted, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

METHODS = {  # colour and line of each way of merging, in the order of the legend
    "naive": ("naive", QUIET, "-"),
    "permuted": ("permuted", COLOURS["bipartite"], "-"),
    "repaired_closed": ("repaired, closed form", NETS[0], "--"),
    "repaired": ("repaired by a pass", NETS[0], "-"),
    "zipped": ("zipped", SIGNAL, "--"),
    "zipped_repaired": ("zipped and repaired", SIGNAL, "-"),
}
PANELS = {"loss": "validation loss (nats)", "top1": "validation top-1"}


def paths_between_networks(rows: pd.DataFrame) -> Figure:
    """Mean over pairs of networks of loss and top-1 against the second network's share, by method, one row a matching.

    ``rows``: the table merges. Raises Undrawable where it has no pairs.
    """
    pairs = rows[rows["alpha"].notna()]
    if pairs.empty:
        raise Undrawable("The table merges has no pairs of networks.")
    matchings = list(dict.fromkeys(pairs["matching"]))
    figure = page(0.9 + 2.4 * len(matchings), "On the way from one network to another", _caption(rows))
    grid = figure.subplots(len(matchings), len(PANELS), squeeze=False)
    for of_matching, matching in zip(grid, matchings, strict=True):
        for axes, (quantity, scale) in zip(of_matching, PANELS.items(), strict=True):
            _panel(axes, pairs[pairs["matching"] == matching], quantity)
            label(axes, f"matched by {matching}", "share of the second network", scale)
            open_frame(axes)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=TICKS, frameon=False)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, quantity: str) -> None:
    for method, (name, colour, line) in METHODS.items():
        found = rows[rows["method"] == method]
        if found.empty:
            continue
        by_alpha = found.groupby("alpha")[quantity]
        mean = by_alpha.mean()
        if len(mean) == 1:  # there is one way to zip
            fill = "full" if line == "-" else "none"
            axes.plot(mean.index, mean, "D", color=colour, markersize=4, label=name, fillstyle=fill)
            continue
        axes.plot(mean.index, mean, line, color=colour, linewidth=1.2, label=name)
        axes.fill_between(mean.index, by_alpha.min(), by_alpha.max(), color=colour, alpha=0.12, linewidth=0)


def _caption(rows: pd.DataFrame) -> str:
    pairs = rows[rows["alpha"].notna()]
    middle = pairs[pairs["alpha"] == min(pairs["alpha"].unique(), key=lambda alpha: abs(alpha - 0.5))]
    matching = rows["matching"].iloc[0]
    means = middle[middle["matching"] == matching].groupby("method")["top1"].mean()
    said = ", ".join(f"{METHODS[method][0]} {100 * means[method]:.1f}" for method in METHODS if method in means)
    up_to = f", merged up to {rows['up_to'].iloc[0]}" if rows["up_to"].iloc[0] else ""
    several = rows[rows["alpha"].isna() & (rows["method"] == "repaired") & (rows["matching"] == matching)]
    together = (
        f" All {several['nets'].iloc[0].count('-') + 1} networks in one, repaired: {100 * several['top1'].mean():.1f}%."
        if len(several)
        else ""
    )
    return (
        f"Lines: means over {counted(pairs['nets'].nunique(), 'pair')} of networks{up_to}; areas: from the worst pair "
        f"to the best. Top-1 in percent at alpha {middle['alpha'].iloc[0]:g}, matched by {matching}: {said}.{together}"
    )
