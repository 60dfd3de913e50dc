"""Semi-matching and matching curves (paper, Figures 3 and 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.analysis.significance import FALSE_DISCOVERIES
from raycv.drawing.style import COLOURS, METHODS, QUIET, SIGNAL, TICKS, counted, ends, label, open_frame, page
from raycv.drawing.undrawable import Undrawable


def partners(matchings: pd.DataFrame, layer: str, net_a: str, net_b: str, method: str) -> pd.DataFrame:
    """The matching by correlation of one layer and ordered pair, indexed by ``unit_a``.

    Columns: ``unit_b``, ``value``, ``rotated_value`` and ``q_value``.
    Raises Undrawable where the table ``matchings`` has no such rows.
    """
    chosen = (
        (matchings["layer"] == layer)
        & (matchings["net_a"] == net_a)
        & (matchings["net_b"] == net_b)
        & (matchings["method"] == method)
        & (matchings["similarity"] == "correlation")
    )
    if not chosen.any():
        raise Undrawable(
            f"The table matchings has no {METHODS[method]} of {net_a} to {net_b} by correlation at layer {layer}; "
            f"it has layers {', '.join(map(str, matchings['layer'].unique()))} and networks "
            f"{', '.join(map(str, matchings['net_a'].unique()))}."
        )
    columns = ["unit_a", "unit_b", "value", "rotated_value", "q_value"]
    return matchings.loc[chosen, columns].set_index("unit_a").sort_index()


def matching_curves(matchings: pd.DataFrame, layers: Sequence[str], net_a: str, net_b: str) -> Figure:
    """The correlation of every unit of ``net_a`` with its partner in ``net_b``, one panel per layer.

    Units stand in the order of falling semi-matching value; the large light circle of a unit is its semi-matching, the
    small dark dot its matching, the tick what random mixtures of ``net_b``'s units give. Units without a partner are
    left out. One layer gives Figure 3, several Figure 10.
    ``matchings`` is the table of that name. Raises Undrawable where ``layers`` is empty or a layer has no rows.
    """
    if not layers:
        raise Undrawable("Matching curves need at least one layer, found none; name layers of the table matchings.")
    curves = {layer: _curve(matchings, layer, net_a, net_b) for layer in layers}
    title = f"Correlation of {net_a}'s units with their partners in {net_b}"
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    if columns == 1:
        figure = page(3.2, f"{title}, {layers[0]}", _caption_of_one(curves[layers[0]], net_a, net_b))
    else:
        figure = page(1.1 + 1.75 * rows, title, _caption_of_all(curves, net_a, net_b))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for place, (layer, curve) in enumerate(curves.items()):
        _draw(panels[place], curve)
        heading = "" if columns == 1 else f"{layer}: {_unmatched(curve)}"
        below = f"units of {net_a}, sorted by semi-matching" if place // columns == rows - 1 else ""
        label(panels[place], heading, below, "" if place % columns else "correlation")
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    lowest = min([0.0, *(value for curve in curves.values() for value in curve.values)])
    panels[0].set_ylim(lowest - 0.03, 1.03)
    panels[0].legend(loc="upper right", fontsize=TICKS, frameon=False)
    return figure


@dataclass(frozen=True)
class _Curve:
    """The n units that have a partner, sorted: similarities (n,), NaN where left over, and how many units have none."""

    semi: np.ndarray
    bipartite: np.ndarray
    same: np.ndarray  # (n,) the same partner by both methods: 1 or 0, NaN where left over
    chance: np.ndarray  # (n,) the correlation that mixed units give
    found: np.ndarray  # (n,) whether the partner is above chance
    left_out: int

    @property
    def values(self) -> np.ndarray:
        """All similarities drawn."""
        return np.concatenate([self.semi, self.bipartite[np.isfinite(self.bipartite)]])

    @property
    def below(self) -> int:
        """How many units have no match above 0.5."""
        return int((self.semi <= 0.5).sum())


def _curve(matchings: pd.DataFrame, layer: str, net_a: str, net_b: str) -> _Curve:
    semi, one = (partners(matchings, layer, net_a, net_b, method) for method in METHODS)
    both = semi.merge(one, how="left", left_index=True, right_index=True, suffixes=("_semi", "_one"))
    shown = both.dropna(subset="value_semi").sort_values("value_semi", ascending=False, kind="stable")
    same = (shown["unit_b_semi"] == shown["unit_b_one"]).astype(float).where(shown["value_one"].notna())
    return _Curve(
        shown["value_semi"].to_numpy(),
        shown["value_one"].to_numpy(),
        same.to_numpy(),
        shown["rotated_value_semi"].to_numpy(),
        (shown["q_value_semi"] <= FALSE_DISCOVERIES).to_numpy(),
        len(both) - len(shown),
    )


def _draw(axes: Axes, curve: _Curve) -> None:
    size = 5.0 if len(curve.semi) <= 128 else 3.5
    place = np.arange(1, len(curve.semi) + 1)
    for method, values, marker_size in (("semi", curve.semi, size), ("bipartite", curve.bipartite, size / 2)):
        axes.plot(
            place,
            values,
            linestyle="none",
            marker="o",
            markersize=marker_size,
            markeredgewidth=0,
            color=COLOURS[method],
            label=METHODS[method],
        )
    if np.isfinite(curve.chance).any():
        axes.plot(place, curve.chance, "_", color=SIGNAL, markersize=size, markeredgewidth=1, label="mixed units")
    axes.axhline(0.5, color=QUIET, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
    axes.margins(x=0.02)
    open_frame(axes)


def _unmatched(curve: _Curve) -> str:
    units = len(curve.semi)
    if not units:
        return "no unit has a partner"
    below = f"{curve.below / units:.0%} ({curve.below} of {units})"
    return f"{curve.found.mean():.0%} above chance, {below} ≤ 0.5"


def _beyond(curve: _Curve) -> str:
    count = f"{int(curve.found.sum())} of {len(curve.found)}"
    return f"{curve.found.mean():.0%} of the partners ({count}) are above chance at a false discovery rate of 5%"


def _caption_of_one(curve: _Curve, net_a: str, net_b: str) -> str:
    units, paired = len(curve.semi), int(np.isfinite(curve.same).sum())
    if not units:
        return f"No unit of {net_a} has a partner in {net_b}."
    below = f"{curve.below / units:.0%} of {net_a}'s units ({curve.below} of {units})"
    text = f"{_beyond(curve)}. {below} have no match above 0.5 in {net_b}."
    if paired:
        text += (
            f" Averages: semi-matching {curve.semi.mean():.2f}, matching {np.nanmean(curve.bipartite):.2f}; "
            f"both choose the same partner for {int(np.nansum(curve.same))} of {counted(paired, 'unit')}."
        )
    if paired < units:
        text += f" Matching leaves over {counted(units - paired, 'unit')}."
    if curve.left_out:
        text += f" Left out: {counted(curve.left_out, 'unit')} without a partner."
    return text


def _caption_of_all(curves: dict[str, _Curve], net_a: str, net_b: str) -> str:
    shares = {layer: curve.below / len(curve.semi) for layer, curve in curves.items() if len(curve.semi)}
    if not shares:
        return f"No unit of {net_a} has a partner in {net_b}."
    agreements = {layer: float(np.nanmean(c.same)) for layer, c in curves.items() if np.isfinite(c.same).any()}
    found = {layer: float(curve.found.mean()) for layer, curve in curves.items() if len(curve.semi)}
    text = (
        f"Partners above chance at a false discovery rate of 5%: {ends(found, '.0%')}; ticks: what mixed units give. "
    )
    text += f"Units of {net_a} with no match above 0.5 (dashed line) in {net_b}: {ends(shares, '.0%')}."
    if agreements:
        text += f" Units with the same partner by both methods: {ends(agreements, '.0%')}."
    left_out = sum(curve.left_out for curve in curves.values())
    if left_out:
        text += f" Left out: {counted(left_out, 'unit')} without a partner."
    return text
