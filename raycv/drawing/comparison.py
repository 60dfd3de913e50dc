"""Plots of a comparison: all layers, the units of two layers against chance, and one pair of units."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raycv.drawing.short_names import shorten
from raycv.drawing.style import NETS, QUIET, SIGNAL, TEXT, TICKS, WIDTH, counted, label, open_frame

LABELLED = 12  # rows and columns up to which a heat map has its values written in
SHOWN = 2_000  # samples of a scatter


class Plot(Figure):
    """A figure that a notebook shows without more ado; ``savefig`` writes it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def layers_map(rows: pd.DataFrame, value: str, pairs: list[tuple[str, str]]) -> Plot:
    """A heat map for each of ``pairs`` of networks, every layer of one against every layer of the other.

    ``rows``: net_a, layer_a, net_b, layer_b and ``value``; layers sort as they stand.
    """
    tables = []
    for a, b in pairs:
        of_pair = rows[(rows["net_a"] == a) & (rows["net_b"] == b)]
        tables.append(of_pair.pivot(index="layer_a", columns="layer_b", values=value))
    across = min(2, len(pairs))
    down = math.ceil(len(pairs) / across)
    heights = [max(1.6, min(6.0, 0.28 * len(table) + 0.9)) for table in tables]
    figure = Plot(figsize=(WIDTH, down * max(heights)), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flat
    for panel, table, (a, b) in zip(panels, tables, pairs, strict=False):
        _heat_map(panel, table)
        label(panel, value, b, a)
    for panel in list(panels)[len(pairs) :]:
        panel.set_axis_off()
    shorten(figure, [*map(str, rows["layer_a"].unique()), *map(str, rows["layer_b"].unique())])
    return figure


def layers_lines(rows: pd.DataFrame, value: str, null: str | None) -> Plot:
    """``value`` of every ordered pair of networks, layer by layer; ``null``: a column by chance, drawn beside."""
    figure = Plot(figsize=(WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    pairs = rows[["net_a", "net_b"]].drop_duplicates().itertuples(index=False)
    for n, (a, b) in enumerate(pairs):
        of_pair = rows[(rows["net_a"] == a) & (rows["net_b"] == b)].sort_values("layer")
        places = of_pair["layer"].cat.codes
        axes.plot(places, of_pair[value], "o-", color=NETS[n % len(NETS)], lw=1, ms=3, label=f"{a} to {b}")
        if null:
            axes.plot(places, of_pair[null], ":", color=NETS[n % len(NETS)], lw=1)
    layers = list(rows["layer"].cat.categories)
    axes.set_xticks(range(len(layers)), layers, rotation=30 if len(layers) > LABELLED / 2 else 0)
    label(axes, f"{value}{f'; dotted: {null}' if null else ''}", "", value)
    axes.legend(fontsize=TICKS, frameon=False, ncols=2)
    open_frame(axes)
    shorten(figure, layers)
    return figure


def units_against_null(rows: pd.DataFrame, net_a: str, net_b: str, significant: float) -> Plot:
    """Every unit's correlation with its best partner over what random mixtures give, sorted.

    ``rows``: of `raycv.Comparison.matching`, of one pair of layers.
    """
    live = rows.dropna(subset=["value"]).assign(size=lambda found: found["value"].abs())
    live = live.sort_values("size", ascending=False)
    places, named = np.arange(len(live)), (live["q_value"] <= significant).to_numpy()
    figure = Plot(figsize=(WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.vlines(places, live["rotated_value"], live["size"], color=QUIET, lw=0.5, alpha=0.5)
    axes.plot(places, live["rotated_value"], "_", color=QUIET, ms=4, label="random mixtures of the other's units")
    for chosen, colour, said in ((named, NETS[0], "beyond chance"), (~named, SIGNAL, "not told from chance")):
        units = counted(int(chosen.sum()), "unit")
        axes.plot(
            places[chosen], live["size"][chosen], "o", color=colour, ms=3, label=f"best partner, {said} ({units})"
        )
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label(axes, f"units of {net_a} and their best partners in {net_b}", "units, sorted", "absolute correlation")
    axes.legend(fontsize=TICKS, frameon=False)
    open_frame(axes)
    return figure


def pair_of_units(
    x: np.ndarray, y: np.ndarray, names: tuple[str, str], correlation: float, shown: str = "{:,} samples"
) -> Plot:
    """Activations of two units in the same samples, (n,) each. ``shown``: what these are."""
    if len(x) > SHOWN:
        chosen = np.random.default_rng(0).choice(len(x), SHOWN, replace=False)
        x, y = x[chosen], y[chosen]
    figure = Plot(figsize=(WIDTH / 2, WIDTH / 2), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, "o", color=NETS[0], ms=2, alpha=0.35, mew=0)
    label(axes, f"correlation {correlation:.2f}; {shown.format(len(x))}", *names)
    open_frame(axes)
    return figure


def _heat_map(panel: Axes, table: pd.DataFrame) -> None:
    values = table.to_numpy(float)
    low = min(0.0, float(np.nanmin(values))) if np.isfinite(values).any() else 0.0
    panel.imshow(values, vmin=low, vmax=1, cmap="viridis", aspect="auto")
    if max(values.shape) <= LABELLED:
        for (y, x), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if value < 0.6 else "black"
                panel.text(
                    x,
                    y,
                    f"{value:.2f}".replace("-0.00", "0.00"),
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=TICKS,
                )
    panel.set_xticks(range(values.shape[1]), [str(name) for name in table.columns], rotation=30, ha="right")
    panel.set_yticks(range(values.shape[0]), [str(name) for name in table.index])
    for axis in (panel.xaxis, panel.yaxis):
        if len(axis.get_ticklabels()) > 3 * LABELLED:
            axis.set_ticks(list(range(0, len(axis.get_ticklabels()), 5)))
    panel.tick_params(labelsize=TICKS)
    panel.title.set_fontsize(TEXT)
