"""Average matched correlation per layer (paper, Figure 4)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import COLOURS, METHODS, SIGNAL, TICKS, counted, ends, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_OFFSETS = {"semi": -0.17, "bipartite": 0.17}
_SPREAD = 0.2  # the pairs of networks of one layer and method stand side by side over this much of the axis


def layer_averages(alignment: pd.DataFrame) -> Figure:
    """The average correlation of matched units per layer, by semi-matching and by matching, and its chance level.

    The large mark is the mean over all ordered pairs of networks, its bar the mean of their intervals ``mean_low`` to
    ``mean_high`` (the pairs share the images, so the bar does not shrink with their number); faint marks are single
    pairs; the coloured tick is ``null_mean``, averaged likewise. Layers stand in the order of their first row.
    ``alignment`` is the table of that name. Raises Undrawable where it has no averages of correlations.
    """
    layers = [str(layer) for layer in dict.fromkeys(alignment["layer"])]
    rows = alignment[(alignment["similarity"] == "correlation") & alignment["mean"].notna()]
    rows = rows.assign(layer=rows["layer"].astype(str))
    if rows.empty:
        raise Undrawable("The table alignment has no averages of correlations.")
    columns = ["mean", "mean_low", "mean_high", "null_mean"]
    means = rows.groupby(["method", "layer"])[columns].mean()
    figure = page(3.9, "Average correlation of matched units, layer by layer", _caption(rows, means))
    axes = figure.subplots()
    for method in METHODS:
        of_method = rows[rows["method"] == method]
        _draw_pairs(axes, of_method, layers, method)
        _draw_means(axes, means.reindex([(method, layer) for layer in layers]), method)
    axes.set_xticks(range(len(layers)), layers)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    label(axes, "", "layer", "average correlation")
    if sum(map(len, layers)) > 90:
        axes.tick_params(axis="x", labelrotation=90)
    low, high = axes.get_ylim()
    axes.set_ylim(min(0.0, low), max(1.0, high))
    axes.grid(axis="y", linewidth=0.4, color="#dddddd")
    axes.set_axisbelow(True)
    open_frame(axes)
    axes.legend(fontsize=TICKS, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def _draw_pairs(axes: Axes, rows: pd.DataFrame, layers: list[str], method: str) -> None:
    """One faint mark per pair of networks and layer."""
    for place, layer in enumerate(layers):
        pairs = rows.loc[rows["layer"] == layer, "mean"].to_numpy()
        beside = (np.arange(len(pairs)) + 0.5) / max(len(pairs), 1) - 0.5
        axes.plot(
            place + _OFFSETS[method] + _SPREAD * beside,
            pairs,
            linestyle="none",
            marker="o",
            markersize=2.5,
            markeredgewidth=0,
            color=COLOURS[method],
            alpha=0.5,
        )


def _draw_means(axes: Axes, means: pd.DataFrame, method: str) -> None:
    """The averages over pairs, their intervals and their null, layer after layer."""
    place = np.arange(len(means)) + _OFFSETS[method]
    axes.vlines(place, means["mean_low"], means["mean_high"], color=COLOURS[method], linewidth=1.4)
    for end in ("mean_low", "mean_high"):
        axes.plot(place, means[end], "_", color=COLOURS[method], markersize=7, markeredgewidth=1.2)
    axes.plot(place, means["mean"], "o", color=COLOURS[method], markersize=4, label=METHODS[method])
    axes.plot(
        place,
        means["null_mean"],
        "_",
        color=SIGNAL,
        markersize=min(12.0, 110 / len(means)),
        markeredgewidth=1.8,
        label="untrained networks" if method == "bipartite" else None,
    )


def _caption(rows: pd.DataFrame, means: pd.DataFrame) -> str:
    """``rows`` of all pairs and their ``means`` by method and layer."""
    averages = []
    for method, name in METHODS.items():
        if method in means.index:
            of_layers = means.loc[[method], "mean"].droplevel("method")
            averages.append(f"{name} {ends({str(layer): value for layer, value in of_layers.items()}, '.2f')}")
    null = means["null_mean"].dropna()
    if len(null):
        averages.append(f"untrained networks {null.min():.2f} to {null.max():.2f}")
    pairs = len(rows[["net_a", "net_b"]].drop_duplicates())
    return (
        f"Averages: {', '.join(averages)}. Large marks: mean over "
        f"{counted(pairs, 'ordered pair')} of networks (faint marks: each of them); bars: 95% interval over images."
    )
