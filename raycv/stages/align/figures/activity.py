"""Mean activations of the units of several networks (paper, Figure 17)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.analysis.activity import activity_ranking
from raycv.drawing.style import NETS, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_COLUMNS = 3


def mean_activations(units: pd.DataFrame) -> Figure:
    """Figure 17: the mean activations of every network's units from largest to smallest, one panel per layer.

    ``units`` is the table of that name; layers with negative means (not after a ReLU) are left out.
    """
    layers = [str(layer) for layer, rows in units.groupby("layer", sort=False) if (rows["mean"] >= 0).all()]
    if not layers:
        raise Undrawable("No layer has mean activations that are all 0 or more; tap layers after their ReLU.")
    columns = min(_COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    caption = "Logarithmic scale; units that never fire are not drawn. Units by falling mean activation."
    figure = page(0.9 + 1.9 * rows, "Mean activation of the units of every network", caption)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, layer in zip(panels, layers, strict=False):
        of_layer = units[units["layer"] == layer]
        for number, (net, means) in enumerate(of_layer.groupby("net", sort=False)["mean"]):
            ranking = activity_ranking(means.to_numpy())
            firing = ranking.means[ranking.means > 0]
            axes.plot(np.arange(1, len(firing) + 1), firing, color=NETS[number % len(NETS)], linewidth=0.9, label=net)
        axes.set_yscale("log")
        label(axes, layer, "unit", "mean activation")
        axes.tick_params(which="minor", labelsize=TICKS - 1)
        open_frame(axes)
    panels[0].legend(fontsize=TICKS, frameon=False)
    for axes in panels[len(layers) :]:
        axes.set_axis_off()
    return figure
