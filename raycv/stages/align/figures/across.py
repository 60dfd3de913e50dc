"""How alike every layer of one network is to every layer of another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.style import QUIET, TICKS, label, page
from raycv.drawing.undrawable import Undrawable

_QUANTITIES = {"excess": "correlation with the best partner, above chance", "debiased_cka": "linear CKA without bias"}
_MOST = 40  # layers whose names can still be read


def layers_across(across: pd.DataFrame) -> Figure:
    """Two maps, of excess correlation and of CKA; rows are layers of one network, columns those of another.

    Networks whose layers have the same names are averaged over; otherwise the first two are shown. The layer that is
    most like a row's has a dot. ``across`` is the table of that name. Raises Undrawable where it is empty.
    """
    if across.empty:
        raise Undrawable("The table across is empty.")
    layers = across.groupby("net_a", sort=False)["layer_a"].unique().map(tuple)
    nets = list(layers.index)
    alike = len(set(layers)) == 1
    shown = across if alike else across[(across["net_a"] == nets[0]) & (across["net_b"] == nets[1])]
    rows, columns = (list(layers.iloc[n]) for n in (0, 0 if alike else 1))
    which = "mean over all ordered pairs of networks" if alike else f"{nets[0]} and {nets[1]}"
    caption = (
        f"Rows: layers of one network; columns: layers of the other ({which}). A dot marks the column that is most "
        "like its row. A layer with positions is its mean over them; chance is randomly rotated units."
    )
    figure = page(1.6 + 0.16 * max(len(rows), 12), "Which layers are alike", caption)
    for axes, (quantity, title) in zip(figure.subplots(1, 2), _QUANTITIES.items(), strict=True):
        values = shown.groupby(["layer_a", "layer_b"])[quantity].mean().unstack().loc[rows, columns].to_numpy()
        image = axes.imshow(values, cmap="viridis", aspect="auto", vmin=min(0.0, np.nanmin(values)))
        axes.plot(
            np.nanargmax(values, 1), np.arange(len(rows)), "o", color="white", markeredgecolor=QUIET, markersize=3
        )
        label(axes, title, "" if alike else nets[1], "" if alike else nets[0])
        for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
            step = -(-len(names) // _MOST)
            axis.set_ticks(range(0, len(names), step), names[::step])
        axes.tick_params(axis="x", labelrotation=90)
        bar = figure.colorbar(image, ax=axes, shrink=0.7, location="bottom")
        bar.ax.tick_params(labelsize=TICKS)
    return figure
