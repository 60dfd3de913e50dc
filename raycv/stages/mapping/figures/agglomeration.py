"""The units of two networks clustered by their mapping layer (paper, Figure 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from raycv.analysis.agglomeration import Agglomeration
from raycv.analysis.arrays import Floats, Ints
from raycv.drawing.montage import Blocks
from raycv.drawing.portraits import NONE, Portraits, draw_portraits
from raycv.drawing.style import QUIET, TEXT, TICKS, counted, page
from raycv.drawing.undrawable import Undrawable
from raycv.stages.mapping.figures.table1 import decay_name

Unit = tuple[str, int]

SOURCE, TARGET = "#009e73", "#d55e00"  # the paper's green and red, in the shades that colour-blind people tell apart
ZOOMED = (4, 8)  # units of a cluster that is shown enlarged; the paper's two have 8
_LEAST = 2  # of them of each network
_FRAME = "#0072b2"


def agglomeration_tree(
    merges: pd.DataFrame,
    forward: Floats,
    back: Floats,
    layer: str,
    source: str,
    target: str,
    decay: float,
    portraits: Portraits = NONE,
) -> Figure:
    """Figure 7: B = [I, W; Wᵀ, I] in the order of the tree's leaves, the tree beside it, two small clusters enlarged.

    ``merges``: rows of the table agglomerations of one tree; ``forward`` W (S_target, S_source) and ``back``
    (S_source, S_target), Wᵀ or the mapping layer back. Pixels of the diagonal have the colour of the unit's network,
    the others are the darker the larger the weight; negative weights are white. Raises Undrawable where the tree has
    another number of leaves.
    """
    tree = _tree(merges)
    targets, sources = forward.shape
    leaves = len(tree.merges) + 1
    if leaves != targets + sources:
        raise Undrawable(
            f"The tree of {layer} has {leaves} leaves, but {target} and {source} have {targets + sources} units."
        )
    matrix = np.block([[np.eye(targets), forward], [back, np.eye(sources)]])
    units = [(target, unit) for unit in range(targets)] + [(source, unit) for unit in range(sources)]
    colours = np.array([to_rgba(TARGET)] * targets + [to_rgba(SOURCE)] * sources)
    zooms = small_clusters(tree, targets)[:2]
    pictures = portraits.of(layer, [units[leaf] for zoom in zooms for leaf in zoom])
    kind = "a mapping layer" if np.array_equal(back, forward.T) else "mapping layers both ways"
    title = f"{layer}: {source} and {target} clustered by {kind}, decay {decay_name(decay)}"
    below = 0.0 if not zooms else 1.75 * len(zooms) if pictures else 2.4
    figure = page(5.3 + below, title, _caption(tree, targets, zooms, portraits.caption))
    grid = figure.add_gridspec(2, 1, height_ratios=[4.3, below]) if zooms else figure.add_gridspec(1, 1)
    nets = {source: SOURCE, target: TARGET}
    _draw_tree(figure.add_subfigure(grid[0]), tree, matrix, colours, zooms, nets)
    if zooms:
        places = grid[1].subgridspec(len(zooms), 1) if pictures else grid[1].subgridspec(1, 2)
        for place, zoom, name in zip((0, 1), zooms, "ab", strict=False):
            part = figure.add_subfigure(places[place])
            _draw_zoom(part, f"({name})", matrix, colours, zoom, units, pictures)
    return figure


def small_clusters(tree: Agglomeration, targets: int) -> list[Ints]:
    """The clusters fit to be shown enlarged, by falling average weight, each as its leaves in the tree's order.

    They have ``ZOOMED`` units, two or more of each network (the first ``targets`` leaves are the target's), a weight
    above 0, and are part of no other such cluster.
    """
    order = tree.leaf_order
    position = np.argsort(order)
    leaves = len(order)
    start = np.concatenate([position, np.zeros(leaves - 1, dtype=np.int64)])
    inside = np.zeros(2 * leaves - 1, dtype=bool)  # part of a cluster already taken
    for row, (left, right) in enumerate(tree.merges[:, :2].astype(np.int64)):
        start[leaves + row] = min(start[left], start[right])
    found = []
    for row in range(leaves - 2, -1, -1):  # from the root down
        left, right, weight, size = tree.merges[row]
        members = order[start[leaves + row] : start[leaves + row] + int(size)]
        of_target = int((members < targets).sum())
        fits = ZOOMED[0] <= size <= ZOOMED[1] and min(of_target, int(size) - of_target) >= _LEAST and weight > 0
        if fits and not inside[leaves + row]:
            found.append((float(weight), members))
        inside[[int(left), int(right)]] = inside[leaves + row] or fits
    return [members for _, members in sorted(found, key=lambda cluster: -cluster[0])]


def _tree(merges: pd.DataFrame) -> Agglomeration:
    columns = ["cluster_a", "cluster_b", "weight", "size"]
    return Agglomeration(merges.sort_values("merge")[columns].to_numpy(dtype=np.float64))


def _draw_tree(
    part: SubFigure,
    tree: Agglomeration,
    matrix: Floats,
    colours: Floats,
    zooms: Sequence[Ints],
    nets: Mapping[str, str],
) -> None:
    host = part.subplots()  # holds the tree and the matrix, so that both have the same height
    host.set_axis_off()
    host.set_box_aspect(1 / 1.2)
    beside, axes = host.inset_axes((0.0, 0.09, 0.225, 0.91)), host.inset_axes((0.24, 0.09, 0.76, 0.91))
    order = tree.leaf_order
    image = _draw_matrix(axes, matrix[np.ix_(order, order)], colours[order], _largest(matrix))
    position = np.argsort(order)
    for zoom, name in zip(zooms, "ab", strict=False):
        first, size = position[zoom].min(), len(zoom)
        corner = (first - 0.5, first - 0.5)
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=_FRAME, linewidth=1.0))
        x, side = (first + size, "left") if name == "a" else (first - 1, "right")  # neighbours' names do not meet
        axes.text(x, first, f" ({name}) ", fontsize=TICKS, color=_FRAME, ha=side, va="center")
    beside.set_ylim(axes.get_ylim())
    beside.add_collection(LineCollection(_branches(tree), colors=_FRAME, linewidths=min(0.7, 80 / len(order))))
    beside.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    top = max(float(tree.merges[0, 2]), 1e-9)
    beside.set_xlim(0, 1.05 * top)
    beside.set_xticks([0, *(tick for tick in (0.1, 0.3, 0.6) if tick < top)])
    beside.xaxis.set_major_formatter("{x:g}")
    beside.tick_params(labelsize=TICKS, left=False, labelleft=False)
    beside.set_xlabel("average weight", fontsize=TEXT)
    beside.spines[["top", "left", "right"]].set_visible(False)
    bar = part.colorbar(image, cax=host.inset_axes((1.03, 0.1, 0.022, 0.5)))
    bar.set_label("weight", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TICKS)
    host.legend(
        handles=[Patch(color=colour, label=f"unit of {net}") for net, colour in nets.items()],
        fontsize=TICKS,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
    )


def _draw_zoom(
    part: SubFigure,
    name: str,
    matrix: Floats,
    colours: Floats,
    zoom: Ints,
    units: Sequence[Unit],
    pictures: Blocks,
) -> None:
    """One cluster: its part of the matrix with the weights in it and its units' portraits, where there are pictures."""
    shown = matrix[np.ix_(zoom, zoom)]
    grid = part.add_gridspec(1, 2, width_ratios=[1.0, 2.0]) if pictures else part.add_gridspec(1, 1)
    axes = part.add_subfigure(grid[0]).subplots()
    limit, size = _largest(matrix), min(TICKS, 40 / len(zoom))
    _draw_matrix(axes, shown, colours[zoom], limit)
    for row, column in zip(*np.nonzero(np.abs(shown) >= 0.005), strict=True):
        if row != column:
            dark = shown[row, column] > 0.55 * limit
            text = f"{shown[row, column]:.2f}".replace("0.", ".")
            axes.text(column, row, text, fontsize=size, color="white" if dark else "black", ha="center", va="center")
    axes.set_yticks(range(len(zoom)), [f"{units[leaf][0]} {units[leaf][1]}" for leaf in zoom])
    axes.tick_params(labelsize=TICKS - 1, left=False, pad=1)
    for tick, leaf in zip(axes.get_yticklabels(), zoom, strict=True):
        tick.set_color(colours[leaf])
    axes.set_title(name, fontsize=TEXT, loc="left", color=_FRAME, pad=3)
    if not pictures:
        return
    panels = part.add_subfigure(grid[1]).subplots(1, ZOOMED[1])
    draw_portraits(panels, [units[leaf] for leaf in zoom], pictures)
    for axes, leaf in zip(panels, zoom, strict=False):
        net, unit = units[leaf]
        axes.set_title(f"{net}\n{unit}", fontsize=TICKS - 1, color=colours[leaf], pad=2)


def _draw_matrix(axes: Axes, matrix: Floats, colours: Floats, limit: float) -> AxesImage:
    """Weights in grey from 0 to ``limit``, over them the diagonal in ``colours`` (n, 4); returns the grey image."""
    image = axes.imshow(matrix, cmap="Greys", vmin=0, vmax=limit, interpolation="nearest")
    diagonal = np.zeros((*matrix.shape, 4))
    places = np.arange(len(matrix))
    diagonal[places, places] = colours
    axes.imshow(diagonal, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(linewidth=0.5, color=QUIET)
    return image


def _largest(matrix: Floats) -> float:
    """The largest weight off the diagonal."""
    return max(float((matrix - np.eye(len(matrix))).max()), 1e-9)


def _branches(tree: Agglomeration) -> list[list[tuple[float, float]]]:
    """One line per merge of weight above 0: from one child over that weight to the other; leaves end at the right."""
    leaves = len(tree.merges) + 1
    height = np.empty(2 * leaves - 1)
    height[tree.leaf_order] = np.arange(leaves)
    weight = np.full(2 * leaves - 1, 1.05 * max(float(tree.merges[0, 2]), 1e-9))
    lines = []
    for row, (left, right) in enumerate(tree.merges[:, :2].astype(np.int64)):
        node = leaves + row
        weight[node] = max(float(tree.merges[row, 2]), 0.0)
        height[node] = (height[left] + height[right]) / 2
        ends = (weight[left], height[left]), (weight[right], height[right])
        if weight[node] > 0:
            lines.append([ends[0], (weight[node], ends[0][1]), (weight[node], ends[1][1]), ends[1]])
    return lines


def _caption(tree: Agglomeration, targets: int, zooms: Sequence[Ints], pictures: str) -> str:
    leaves = len(tree.merges) + 1
    of_leaves = tree.merges[(tree.merges[:, :2] < leaves).all(1), :2].astype(np.int64)
    of_both = int(((of_leaves < targets).sum(1) == 1).sum())
    connected = int((tree.merges[:, 2] > 0).sum())
    text = (
        f"{of_both} of the {counted(len(of_leaves), 'merge')} of two single units join a unit of each network. "
        "Negative weights are white."
    )
    if connected < len(tree.merges):
        text += f" Not drawn: {counted(len(tree.merges) - connected, 'merge')} of what no positive weight connects."
    sought = f"{ZOOMED[0]} to {ZOOMED[1]} units, {_LEAST} or more of each network"
    if zooms:
        return f"{text} (a), (b): the strongest clusters of {sought}. {pictures}".strip()
    return f"{text} There is no cluster of {sought}."
