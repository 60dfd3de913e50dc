"""Matched correlation per layer, above chance and raw (paper, Figure 4)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import COLOURS, METHODS, NETS, QUIET, SIGNAL, TICKS, counted, ends, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_SPREAD = 0.2  # the pairs of networks of one layer and series stand side by side over this much of the axis
_UNTRAINED = "untrained networks"


def layer_averages(alignment: pd.DataFrame) -> Figure:
    """What matched units have above chance, layer by layer, and below it the averages themselves.

    (a) excess of semi-matchings over mixtures after the ReLU (``excess``) and before it (``prerelu_excess``), with the
    same of untrained networks; (b) ``mean`` by semi-matching and by matching, with ``rotated_mean`` of semi-matchings
    and ``untrained_mean``. A large mark is the mean over all ordered pairs of networks, its bar the mean of their
    intervals (the pairs share the images, so the bar does not shrink with their number); faint marks are single pairs.
    Layers stand in the order of their first row. ``alignment`` is the table of that name. Raises Undrawable where it
    has no averages of correlations.
    """
    layers = [str(layer) for layer in dict.fromkeys(alignment["layer"])]
    rows = alignment[(alignment["similarity"] == "correlation") & alignment["mean"].notna()]
    rows = rows.assign(layer=rows["layer"].astype(str))
    if rows.empty:
        raise Undrawable("The table alignment has no averages of correlations.")
    by_method = {method: _OfMethod(rows[rows["method"] == method], layers) for method in METHODS}
    figure = page(6.4, "Correlation of matched units above chance, layer by layer", _caption(rows, by_method))
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_excess(above, by_method["semi"])
    _draw_averages(below, by_method)
    below.set_xticks(range(len(layers)), layers)
    below.set_xlim(-0.6, len(layers) - 0.4)
    label(
        above, "(a) best partner, in excess of random mixtures of the other network's units", "", "excess correlation"
    )
    label(below, "(b) average correlation", "layer", "correlation")
    if sum(map(len, layers)) > 90:
        below.tick_params(axis="x", labelrotation=90)
    low, high = below.get_ylim()
    below.set_ylim(min(0.0, low), max(1.0, high))
    for axes in (above, below):
        axes.grid(axis="y", linewidth=0.4, color="#dddddd")
        axes.set_axisbelow(True)
        open_frame(axes)
    above.legend(fontsize=TICKS, frameon=False, ncols=3, loc="upper right")
    below.legend(fontsize=TICKS, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


class _OfMethod:
    """The rows of one method, and their means over pairs of networks, layer after layer."""

    def __init__(self, rows: pd.DataFrame, layers: list[str]) -> None:
        self.rows, self.layers = rows, layers
        self.means = rows.groupby("layer").mean(numeric_only=True).reindex(layers)

    def draw(self, axes: Axes, column: str, interval: str, place: float, colour: str, name: str) -> None:
        """The means of one column, with the interval columns of the name ``interval``, and the single pairs."""
        for number, layer in enumerate(self.layers):
            pairs = self.rows.loc[self.rows["layer"] == layer, column].to_numpy()
            beside = (np.arange(len(pairs)) + 0.5) / max(len(pairs), 1) - 0.5
            axes.plot(
                number + place + _SPREAD * beside,
                pairs,
                linestyle="none",
                marker="o",
                markersize=2.5,
                markeredgewidth=0,
                color=colour,
                alpha=0.5,
            )
        places = np.arange(len(self.layers)) + place
        if interval:
            low, high = self.means[f"{interval}_low"], self.means[f"{interval}_high"]
            axes.vlines(places, low, high, color=colour, linewidth=1.4)
            for end in (low, high):
                axes.plot(places, end, "_", color=colour, markersize=7, markeredgewidth=1.2)
        axes.plot(places, self.means[column], "o", color=colour, markersize=4, label=name)

    def tick(self, axes: Axes, column: str, place: float, colour: str, name: str | None) -> None:
        """The means of one column as ticks: what chance gives."""
        size = min(12.0, 110 / len(self.layers))
        places = np.arange(len(self.layers)) + place
        axes.plot(places, self.means[column], "_", color=colour, markersize=size, markeredgewidth=1.8, label=name)


def _draw_excess(axes: Axes, semi: _OfMethod) -> None:
    axes.axhline(0, color=QUIET, linewidth=0.6)
    semi.draw(axes, "excess", "excess", -0.17, NETS[0], "mixed after the non-linearity")
    semi.draw(axes, "prerelu_excess", "", 0.17, NETS[4], "mixed before the non-linearity")
    semi.tick(axes, "untrained_excess", -0.17, SIGNAL, _UNTRAINED)
    semi.tick(axes, "untrained_prerelu_excess", 0.17, SIGNAL, None)


def _draw_averages(axes: Axes, by_method: dict[str, _OfMethod]) -> None:
    for (method, found), place in zip(by_method.items(), (-0.17, 0.17), strict=True):
        found.draw(axes, "mean", "mean", place, COLOURS[method], METHODS[method])
        found.tick(axes, "untrained_mean", place, SIGNAL, _UNTRAINED if method == "bipartite" else None)
        found.tick(axes, "rotated_mean", place, QUIET, "mixed units" if method == "bipartite" else None)


def _caption(rows: pd.DataFrame, by_method: dict[str, _OfMethod]) -> str:
    """``rows`` of all pairs, and what they are by method."""
    semi = by_method["semi"].means
    texts = [
        f"{name} {ends({str(layer): value for layer, value in values.items()}, '+z.2f')}"
        for name, values in (
            ("mixed after the non-linearity", semi["excess"].dropna()),
            ("mixed before it", semi["prerelu_excess"].dropna()),
        )
        if len(values)
    ]
    for name, column in (("after", "untrained_excess"), ("before", "untrained_prerelu_excess")):
        values = semi[column].dropna()
        if len(values):
            texts.append(f"untrained networks, {name}, {values.min():+z.2f} to {values.max():+z.2f}")
    averages = [
        f"{METHODS[method]} {ends({str(layer): value for layer, value in values.items()}, '.2f')}"
        for method, found in by_method.items()
        if len(values := found.means["mean"].dropna())
    ]
    pairs = len(rows[["net_a", "net_b"]].drop_duplicates())
    return (
        (f"(a) Excess: {'; '.join(texts)}. " if texts else "")
        + f"(b) Averages: {', '.join(averages)}. Large marks: mean over {counted(pairs, 'ordered pair')} of networks "
        "(faint marks: each of them); bars: 95% interval over images."
    )
