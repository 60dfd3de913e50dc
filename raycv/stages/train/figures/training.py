"""Training curves: how well each network classifies, epoch by epoch."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raycv.drawing.style import NETS, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_MARKERS = "osD^vPX"


def training_curves(training: pd.DataFrame) -> Figure:
    """Validation top-1 accuracy of every network after each epoch, in percent.

    ``training`` is the table of that name. Raises Undrawable where it has no accuracies.
    """
    rows = training[training["validation_top1"].notna()].sort_values("epoch", kind="stable")
    if rows.empty:
        raise Undrawable("The table training has no accuracies.")
    figure = page(3.6, "Validation accuracy during training", _caption(rows))
    axes = figure.subplots()
    for number, net in enumerate(dict.fromkeys(training["net"])):
        curve = rows[rows["net"] == net]
        axes.plot(
            curve["epoch"],
            100 * curve["validation_top1"],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=3,
            linewidth=1.2,
            color=NETS[number % len(NETS)],
            label=str(net),
        )
    label(axes, "", "epoch", "validation top-1 (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")
    open_frame(axes)
    axes.legend(fontsize=TICKS, frameon=False, loc="lower right")
    return figure


def _caption(rows: pd.DataFrame) -> str:
    """``rows`` in the order of epochs."""
    last = {str(net): float(top1) for net, top1 in zip(rows["net"], rows["validation_top1"], strict=True)}
    text = "After the last epoch: " + ", ".join(f"{net} {top1:.1%}" for net, top1 in last.items())
    spread = 100 * (max(last.values()) - min(last.values()))
    return text + (f"; best and worst differ by {spread:.1f} points." if len(last) > 1 else ".")
