"""Correlation matrices within and between two networks (paper, Figure 1)."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from raycv.drawing.style import SIGNAL, TEXT, TICKS, counted, label, page
from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.figures.matchings import partners


def correlation_matrices(
    correlations: pd.DataFrame, matchings: pd.DataFrame, layer: str, net_a: str, net_b: str
) -> Figure:
    """Four matrices: within ``net_a``, within ``net_b``, between them, and between them with matched units paired.

    All four share one scale, the smallest value black and the largest white; cells of dead units are coloured. In the
    last one the units of ``net_b`` stand in the order of their partners in ``net_a`` (one-to-one matching), so matched
    pairs lie on the diagonal; units without a partner stand last on both sides. ``correlations`` and ``matchings`` are
    the tables of those names; a pair stored the other way round is transposed. Raises Undrawable where they lack the
    layer or a network.
    """
    within_a = _matrix(correlations, layer, net_a, net_a)
    within_b = _matrix(correlations, layer, net_b, net_b)
    between = _matrix(correlations, layer, net_a, net_b)
    matching = partners(matchings, layer, net_a, net_b, "bipartite")
    rows, columns = _paired_order(matching, between.shape)
    permuted = between[np.ix_(rows, columns)]
    panels = (
        (f"(a) within {net_a}", within_a, f"unit of {net_a}", f"unit of {net_a}"),
        (f"(b) within {net_b}", within_b, f"unit of {net_b}", f"unit of {net_b}"),
        (f"(c) {net_a} and {net_b}", between, f"unit of {net_b}", f"unit of {net_a}"),
        (f"(d) {net_a} and {net_b}, permuted", permuted, f"unit of {net_b}, partner by partner", f"unit of {net_a}"),
    )
    paired = int((matching["unit_b"] >= 0).sum())
    dead = {net_a: _dead(within_a), net_b: _dead(within_b)}
    figure = page(7.0, f"Correlations between the units of {layer}", _caption(between, permuted, paired, dead))
    grey = matplotlib.colormaps["gray"].with_extremes(bad=SIGNAL)
    low, high = _range([matrix for _, matrix, _, _ in panels])
    axes = figure.subplots(2, 2)
    for panel, (title, matrix, x, y) in zip(axes.ravel(), panels, strict=True):
        image = panel.imshow(np.ma.masked_invalid(matrix), cmap=grey, vmin=low, vmax=high)
        panel.set_anchor("W")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
        label(panel, title, x, y)
    axes[1, 1].xaxis.set_major_formatter(_units_at(columns))
    axes[1, 1].yaxis.set_major_formatter(_units_at(rows))
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, panchor=False)
    bar.set_label("correlation", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TICKS)
    return figure


def _matrix(correlations: pd.DataFrame, layer: str, net_a: str, net_b: str) -> np.ndarray:
    """(S_a, S_b) correlations of one layer. The table holds each pair of networks in one order only."""
    of_layer = correlations[correlations["layer"] == layer]
    for first, second in ((net_a, net_b), (net_b, net_a)):
        rows = of_layer[(of_layer["net_a"] == first) & (of_layer["net_b"] == second)]
        if len(rows):
            unit_a, unit_b = rows["unit_a"].to_numpy(), rows["unit_b"].to_numpy()
            matrix = np.full((unit_a.max() + 1, unit_b.max() + 1), np.nan)
            if len(rows) < matrix.size:
                raise Undrawable(
                    f"The table correlations has only the strongest partners of the units of {layer}; figure 1 shows "
                    "all pairs."
                )
            matrix[unit_a, unit_b] = rows["value"]
            return matrix if first == net_a else matrix.T
    raise Undrawable(
        f"The table correlations has no rows of {net_a} and {net_b} at layer {layer}; it has layers "
        f"{', '.join(map(str, correlations['layer'].unique()))} and networks "
        f"{', '.join(map(str, correlations['net_a'].unique()))}."
    )


def _paired_order(matching: pd.DataFrame, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The order of rows (S_a,) and of columns (S_b,) that puts matched pairs on the diagonal, the others last."""
    paired = matching[matching["unit_b"] >= 0]
    orders = []
    for units, size in zip((paired.index.to_numpy(), paired["unit_b"].to_numpy()), shape, strict=True):
        orders.append(np.concatenate([units, np.setdiff1d(np.arange(size), units)]))
    return orders[0], orders[1]


def _units_at(order: np.ndarray) -> FuncFormatter:
    """Tick labels of an axis on which ``order`` holds the unit at each place."""
    return FuncFormatter(lambda place, _: str(order[int(place)]) if place in range(len(order)) else "")


def _dead(within: np.ndarray) -> int:
    return int(np.isnan(within).all(1).sum())


def _range(matrices: list[np.ndarray]) -> tuple[float, float]:
    """The smallest and the largest correlation shown."""
    values = np.concatenate([matrix[np.isfinite(matrix)] for matrix in matrices])
    return (float(values.min()), float(values.max())) if len(values) else (-1.0, 1.0)


def _caption(between: np.ndarray, permuted: np.ndarray, paired: int, dead: dict[str, int]) -> str:
    if paired == 0:
        text = "No units could be paired."
    else:
        matched = permuted.diagonal()[:paired]
        raw = between.diagonal()[np.isfinite(between.diagonal())]
        before = f"{raw.mean():.2f}" if len(raw) else "undefined"
        text = (
            f"The diagonal of (c) averages {before}; once units are paired by matching, (d), it averages "
            f"{matched.mean():.2f}, and {(matched > 0.5).mean():.0%} of the {counted(paired, 'pair')} "
            f"correlate above 0.5."
        )
    if any(dead.values()):
        units = " and ".join(f"{counted(count, 'unit')} of {net}" for net, count in dead.items() if count)
        text += f" Coloured lines: dead units ({units})."
    return text
