"""Published measures of similarity, layer by layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import COLOURS, NETS, SIGNAL, TICKS, label, open_frame, page
from raycv.drawing.undrawable import Undrawable

_COLUMNS = 3
_MATCHING = ("hard_correlation_match", "soft_correlation_match", "soft_matching_distance", "partial_matching_score")
_WITHOUT_SIDE = ("effective_dimension", "partial_matching_mass")  # neither end means more alike
_NULLS = {"rotated": ("_", SIGNAL, "units rotated"), "untrained": ("x", NETS[0], "untrained")}
_ENDS = (" ↑", " ↓", "")  # where more alike is, by kind


def measures_by_layer(measures: pd.DataFrame) -> Figure:
    """One panel per measure: its mean over pairs of networks in every layer, with its interval and chance level.

    Similarities come first, then distances, then what is neither. A dot is hollow where networks are no more alike
    than by chance. ``measures`` is the table of that name. Raises Undrawable where it has no values.
    """
    found = measures[(measures["layer_a"] == measures["layer_b"]) & measures["value"].notna()]
    if found.empty:
        raise Undrawable("The table measures has no values.")
    layers = [str(layer) for layer in dict.fromkeys(found["layer_a"])]
    names = sorted({str(name) for name in found["measure"]}, key=lambda name: (kind(name), name))
    columns = ["value", "low", "high", "chance"]
    of_measure = {name: found[found["measure"] == name].groupby("layer_a")[columns].mean() for name in names}
    means = {name: rows.reindex(layers) for name, rows in of_measure.items()}
    rows = -(-len(names) // _COLUMNS)
    figure = page(1.3 + 1.5 * rows, "Measures of similarity, layer by layer", _caption(means))
    panels = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True).ravel()
    for axes, name in zip(panels, names, strict=False):
        _draw(axes, name, means[name], layers)
    for axes in panels[max(0, len(names) - _COLUMNS) : len(names)]:  # the lowest of every column
        axes.tick_params(labelbottom=True)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    handles = {text: line for axes in panels for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(),
        handles.keys(),
        fontsize=TICKS,
        frameon=False,
        ncols=len(handles),
        loc="outside upper right",
        columnspacing=1.0,
        handletextpad=0.2,
    )
    return figure


def kind(name: str) -> int:
    """0 of a similarity, 1 of a distance, 2 of a measure that has no better end."""
    return 2 if name in _WITHOUT_SIDE else int("distance" in name)


def not_above_chance(name: str, means: pd.DataFrame) -> list[str]:
    """The layers in which a measure says that networks are no more alike than by chance; ``means`` by layer."""
    if kind(name) == 2:
        return []
    better = means["value"] > means["chance"] if kind(name) == 0 else means["value"] < means["chance"]
    return [str(layer) for layer in means.index[means["value"].notna() & means["chance"].notna() & ~better]]


def _said(name: str) -> str:
    return name.replace("_", " ")


def _draw(axes: Axes, name: str, means: pd.DataFrame, layers: list[str]) -> None:
    colour = COLOURS["bipartite"]
    place = np.arange(len(layers))
    axes.vlines(place, means["low"], means["high"], color=colour, linewidth=1.4)
    alike = ~np.isin(layers, not_above_chance(name, means))
    for chosen, face, text in ((alike, colour, "trained"), (~alike, "white", "not above chance")):
        if chosen.any():
            axes.plot(
                place[chosen],
                means["value"][chosen],
                "o",
                color=colour,
                markerfacecolor=face,
                markersize=3.5,
                label=text,
            )
    mark, shade, text = _NULLS["rotated" if name in _MATCHING else "untrained"]
    if means["chance"].notna().any():
        size = 8 if mark == "_" else 4
        axes.plot(place, means["chance"], mark, color=shade, markersize=size, markeredgewidth=1.4, label=text)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.set_xticks(place, layers)
    label(axes, f"{_said(name)}{_ENDS[kind(name)]}", "", "")
    axes.tick_params(axis="x", labelrotation=90)
    open_frame(axes)


def _caption(means: dict[str, pd.DataFrame]) -> str:
    wrong = {name: layers for name, rows in means.items() if (layers := not_above_chance(name, rows))}
    sided = sum(kind(name) < 2 and bool(rows["chance"].notna().any()) for name, rows in means.items())
    text = (
        "Dots: means over networks or pairs of networks; bars: mean 95% interval over images, where there is one. ↑: "
        "the higher, the more alike; ↓: the lower. By chance: randomly rotated units for the matchings by correlation, "
        "untrained networks for all others. "
    )
    if not wrong:
        return f"{text}All {sided} measures with a null are above chance in every layer."
    by_layers: dict[str, list[str]] = {}
    for name, layers in wrong.items():
        by_layers.setdefault(", ".join(layers), []).append(_said(name))
    of_measures = "; ".join(f"in {layers}: {', '.join(names)}" for layers, names in by_layers.items())
    return (
        f"{text}Hollow: no more alike than by chance, {len(wrong)} of {sided} measures with a null ({of_measures}). "
        "Untrained networks are alike as far as their layers keep what is in the image; such a value does not show "
        "what training has made alike."
    )
