"""Published measures of similarity, layer by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.style import COLOURS, SIGNAL, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_COLUMNS = 3


def measures_by_layer(measures: pd.DataFrame) -> Figure:
    """One panel per measure: its mean over pairs of networks in every layer, with its interval and chance level.

    ``measures`` is the table of that name. Raises Undrawable where it has no values.
    """
    found = measures[(measures["layer_a"] == measures["layer_b"]) & measures["value"].notna()]
    if found.empty:
        raise Undrawable("The table measures has no values.")
    layers = [str(layer) for layer in dict.fromkeys(found["layer_a"])]
    names = sorted({str(name) for name in found["measure"]})
    caption = (
        "Dots: means over networks or pairs of networks; bars: mean 95% interval over images, where there is one. "
        "Ticks: by chance; for the matchings by correlation (hard, soft, partial) randomly rotated units, for all "
        "others untrained networks. Small distances mean alike."
    )
    rows = -(-len(names) // _COLUMNS)
    figure = page(0.9 + 1.5 * rows, "Measures of similarity, layer by layer", caption)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True).ravel()
    place = np.arange(len(layers))
    for axes, name in zip(panels, names, strict=False):
        columns = ["value", "low", "high", "chance"]
        means = found[found["measure"] == name].groupby("layer_a")[columns].mean().reindex(layers)
        axes.vlines(place, means["low"], means["high"], color=COLOURS["bipartite"], linewidth=1.4)
        axes.plot(place, means["value"], "o", color=COLOURS["bipartite"], markersize=3.5, label="trained")
        axes.plot(place, means["chance"], "_", color=SIGNAL, markersize=8, markeredgewidth=1.6, label="by chance")
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.set_xticks(place, layers)
        label(axes, name.replace("_", " "), "", "")
        axes.tick_params(axis="x", labelrotation=90)
        open_frame(axes)
    for axes in panels[max(0, len(names) - _COLUMNS) : len(names)]:  # the lowest of every column
        axes.tick_params(labelbottom=True)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.legend(
        *panels[0].get_legend_handles_labels(), fontsize=TICKS, frameon=False, ncols=2, loc="outside upper right"
    )
    return figure
