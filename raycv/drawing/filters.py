"""The first-layer filters of several networks, drawn side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raycv.drawing.style import QUIET, TEXT, WIDTH, counted, ends, page
from raycv.drawing.undrawable import Undrawable

_MOST_COLUMNS = 24
_CELL_HEIGHT = 1.3  # for a cell of width 1: the filter and the unit number above it
_FILTER = 0.92


def first_layer_filters(filters: Mapping[str, np.ndarray], order: Mapping[str, np.ndarray] | None = None) -> Figure:
    """Draw one panel per network with all its filters, each scaled to its own range, with its unit number above.

    ``filters``: network -> (S, C, H, W). Three channels are drawn as red, green and blue; otherwise the first channel
    is drawn in grey. ``order``: network -> the unit at each place, -1 for an empty place. With it, matched units have
    the same place, a cross marks an empty place, and units that are not in the order follow after the last place.
    Raises Undrawable for other shapes, for values that are not finite and for units that a network does not have.
    """
    if not filters:
        raise Undrawable("There are no filters to draw; name at least one network.")
    pictures = {net: filter_pictures(net, np.asarray(kernels)) for net, kernels in filters.items()}
    places = {net: _places(net, len(shown), order) for net, shown in pictures.items()}
    if order is not None and len({len(order[net]) for net in filters}) > 1:
        raise Undrawable("The order of the filters must have the same number of places for every network.")
    most = max(map(len, places.values()))
    rows = -(-most // _MOST_COLUMNS)
    columns = -(-most // rows)
    panel_height = rows * _CELL_HEIGHT * (WIDTH - 0.4) / columns
    title = "Filters of the first layer" + ("" if order is None else ": equal places show matched units")
    figure = page(0.9 + len(filters) * (panel_height + 0.08), title, _caption(filters, order))
    panels = figure.subplots(len(filters), 1, squeeze=False).ravel()
    for axes, (net, units) in zip(panels, places.items(), strict=True):
        for place, unit in enumerate(units):
            _draw(axes, pictures[net], int(unit), place % columns, place // columns)
        axes.set(xlim=(0, columns), ylim=(rows * _CELL_HEIGHT, 0), xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(False)
        axes.set_ylabel(net, fontsize=TEXT)
    return figure


def filter_pictures(net: str, kernels: np.ndarray) -> np.ndarray:
    """(S, H, W, 3) colours in 0..1 of the filters (S, C, H, W) of ``net``, each scaled to its own minimum and maximum.

    Three channels become red, green and blue; otherwise the first channel is drawn in grey. A constant filter is
    mid-grey. Raises Undrawable for other shapes and for values that are not finite.
    """
    if kernels.ndim != 4 or 0 in kernels.shape:
        raise Undrawable(
            f"The filters of {net} have shape {kernels.shape}; four axes (units, channels, height, width), none of "
            "them empty, can be drawn. Give the weights of a convolution."
        )
    if not np.isfinite(kernels).all():
        raise Undrawable(
            f"The filters of {net} hold values that are not finite: its training diverged; train it again."
        )
    shown = kernels if kernels.shape[1] == 3 else np.repeat(kernels[:, :1], 3, axis=1)
    low, high = shown.min((1, 2, 3), keepdims=True), shown.max((1, 2, 3), keepdims=True)
    flat = high == low
    scaled = np.where(flat, 0.5, (shown - low) / np.where(flat, 1, high - low))
    return scaled.transpose(0, 2, 3, 1)


def smoothness(kernels: np.ndarray) -> float:
    """How alike neighbouring weights of filters (S, C, H, W) are: 1 of constant ones, about 0 of noise.

    The sum of the products of neighbours, along both axes, over what it would be if each were as large as the other;
    NaN of filters of one weight.
    """
    pairs = [(kernels[..., 1:, :], kernels[..., :-1, :]), (kernels[..., 1:], kernels[..., :-1])]
    products = sum(float((a * b).sum()) for a, b in pairs)
    squares = sum(float((a**2).sum() + (b**2).sum()) / 2 for a, b in pairs)
    return products / squares if squares else np.nan


def smoothness_note(filters: Mapping[str, np.ndarray]) -> str:
    """What the filters' smoothness says of how they look, as a sentence."""
    found = {net: smoothness(np.asarray(kernels, dtype=np.float64)) for net, kernels in filters.items()}
    found = {net: value for net, value in found.items() if np.isfinite(value)}
    if not found:
        return ""
    return (
        f"Neighbouring weights correlate by {ends(found, '.2f')}: near 0 filters look like the random weights that "
        "training starts from, near 1 like smooth edges and colours."
    )


def _places(net: str, units: int, order: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """The unit at each place, -1 for an empty one."""
    if order is None:
        return np.arange(units)
    if net not in order:
        raise Undrawable(f"The order of the filters lacks {net}; give one for every network, or none at all.")
    given = np.asarray(order[net])
    used = given[given >= 0]
    if len(np.unique(used)) < len(used) or (used >= units).any():
        raise Undrawable(
            f"The order of the filters of {net} names a unit twice or above {units - 1}; "
            f"it may hold each of the units 0 to {units - 1} once, and -1 for an empty place."
        )
    return np.concatenate([given, np.setdiff1d(np.arange(units), used)])


def _draw(axes: Axes, pictures: np.ndarray, unit: int, column: int, row: int) -> None:
    left, bottom = column + (1 - _FILTER) / 2, (row + 1) * _CELL_HEIGHT - 0.04
    if unit < 0:
        axes.plot(column + 0.5, bottom - _FILTER / 2, "x", color=QUIET, markersize=4, markeredgewidth=0.7)
        return
    extent = (left, left + _FILTER, bottom, bottom - _FILTER)
    axes.imshow(pictures[unit], extent=extent, interpolation="nearest")
    axes.text(column + 0.5, bottom - _FILTER - 0.04, str(unit), fontsize=5, color=QUIET, ha="center", va="bottom")


def _caption(filters: Mapping[str, np.ndarray], order: Mapping[str, np.ndarray] | None) -> str:
    shapes = {net: np.shape(kernels) for net, kernels in filters.items()}
    if len(set(shapes.values())) == 1:
        units, channels, height, width = next(iter(shapes.values()))
        size = f"{counted(units, 'filter')} of {channels} x {height} x {width} in each network"
    else:
        size = "Filters: " + ", ".join(f"{net} {' x '.join(map(str, shape))}" for net, shape in shapes.items())
    text = f"{size}, each scaled from its smallest to its largest weight; unit numbers above."
    if order is not None:
        filled = np.all([np.asarray(order[net]) >= 0 for net in filters], axis=0)
        text += f" {int(filled.sum())} of {len(filled)} places hold a matched unit in every network."
    return f"{text} {smoothness_note(filters)}"
