"""Accuracy of networks whose first layers are another network's."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import TICKS, label, open_frame, page, shade
from raycv.drawing.undrawable import Undrawable

_WAYS = {"mapping": "o-", "rescaled": "o:", "matching": "x"}


def stitched(rows: pd.DataFrame) -> Figure:
    """The change of accuracy against sparsity and against prediction loss, one line per layer.

    ``rows``: the table stitching_by_layer. Raises Undrawable where it has no mapping layers.
    """
    mapping = rows[rows["way"] == "mapping"]
    if mapping.empty:
        raise Undrawable("The table stitching_by_layer has no mapping layers.")
    layers = [str(layer) for layer in dict.fromkeys(rows["layer"])]
    figure = page(3.7, "One network’s first layers, another’s last", _caption(rows))
    sparse, lossy = figure.subplots(1, 2, sharey=True)
    for place, layer in enumerate(layers):
        of_layer, colour = rows[rows["layer"] == layer], shade(place, len(layers))
        for axes, column in ((sparse, "units_used"), (lossy, "prediction_loss")):
            for way, dashes in _WAYS.items():
                curve = of_layer[of_layer["way"] == way].sort_values("decay")
                name = layer if way == "mapping" else "_"
                points = 100 * curve["top1_change"]
                axes.plot(curve[column], points, dashes, markersize=3, linewidth=1, color=colour, label=name)
    sparse.set_xscale("symlog", linthresh=1)
    _finish(sparse, "(a) sparsity", "source units used for a target unit", "change of validation top-1 (points)")
    _finish(lossy, "(b) prediction", "prediction loss (0.5: nothing is predicted)", "")
    figure.legend(*sparse.get_legend_handles_labels(), fontsize=TICKS, frameon=False, loc="outside right center")
    return figure


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.axhline(0, color="#dddddd", linewidth=0.6, zorder=0)
    label(axes, title, x, y)
    open_frame(axes)


def _caption(rows: pd.DataFrame) -> str:
    def ends(way: str, decay: float | None = None) -> str:
        of_way = rows[rows["way"] == way]
        of_way = of_way if decay is None else of_way[of_way["decay"] == decay]
        points = 100 * of_way.set_index("layer")["top1_change"]
        return f"{points.min():+.1f} ({points.idxmin()}) to {points.max():+.1f} ({points.idxmax()})"

    dense = float(rows.loc[rows["way"] == "mapping", "decay"].min())
    return (
        "Lines: mapping layers of every decay; dotted: the same, with every unit’s own standard deviation; crosses: "
        "each unit is its one-to-one partner alone. Means over ordered pairs of networks, fitted on other images than "
        f"those scored. Change in points at decay {dense:g}: {ends('mapping', dense)}; by partners: {ends('matching')}."
    )
