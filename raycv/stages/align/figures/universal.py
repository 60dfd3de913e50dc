"""How many units are universal by each definition, layer by layer, and what the same gives by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.drawing.style import COLOURS, NETS, SIGNAL, TICKS, ends, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_DEFINITIONS = {
    "tested": ("tested in this run", NETS[0]),
    "excess": ("excess above 0.5 (Gurnee et al.)", COLOURS["bipartite"]),
    "mutual": ("mutual first (Rosetta)", NETS[3]),
}
_NULLS = {"untrained": ("_", "untrained networks"), "shuffled": ("x", "shuffled")}


def universal_units(by_layer: pd.DataFrame) -> Figure:
    """The shares of universal units, with what untrained networks and shuffled images or documents give.

    ``by_layer`` is the table universal_by_layer. Raises Undrawable where it has no shares.
    """
    rows = by_layer[by_layer["share"].notna()]
    if rows.empty:
        raise Undrawable("The table universal_by_layer has no shares of units.")
    layers = [str(layer) for layer in dict.fromkeys(rows["layer"])]
    tested = rows[rows["definition"] == "tested"].set_index("layer")["share"]
    shares = ends({str(layer): share for layer, share in tested.items()}, ".0%")
    caption = (
        f"Units with partners in all other networks, by the test: {shares}. "
        "Beside it two published definitions, which do not ask what chance gives; marks show what they give among "
        "untrained networks and where samples are of other images or documents. Bars: 95% interval over networks."
    )
    figure = page(3.7, "Universal units by three definitions, layer by layer", caption)
    axes = figure.subplots()
    for number, (definition, (name, colour)) in enumerate(_DEFINITIONS.items()):
        of = rows[rows["definition"] == definition].set_index("layer").reindex(layers)
        place = np.arange(len(layers)) + 0.2 * (number - 1)
        low, high = (of[end].clip(0, 1) for end in ("low", "high"))
        axes.vlines(place, low, high, color=colour, linewidth=1.4)
        axes.plot(place, of["share"], "o", color=colour, markersize=4, label=name)
        for null, (mark, text) in _NULLS.items():
            of_all = text if definition == "mutual" else None
            axes.plot(place, of[null], mark, color=SIGNAL, markersize=6, markeredgewidth=1.5, label=of_all)
    axes.set_xticks(range(len(layers)), layers)
    axes.set_ylim(-0.03, 1.03)
    label(axes, "", "layer", "fraction of units")
    if sum(map(len, layers)) > 90:
        axes.tick_params(axis="x", labelrotation=90)
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")
    axes.set_axisbelow(True)
    open_frame(axes)
    axes.legend(fontsize=TICKS, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure
