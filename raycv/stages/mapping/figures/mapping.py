"""A sparse mapping layer and units with their few predictors (paper, Figure 6); all figures of section 4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from raycv.analysis.arrays import Floats, Ints
from raycv.drawing.portraits import NONE, Portraits, draw_portraits
from raycv.drawing.style import QUIET, TEXT, TICKS, counted, label, page
from raycv.drawing.undrawable import Undrawable
from raycv.stages.mapping.figures.table1 import decay_name

FEW = (2, 4)  # source units that predict an example unit; the paper's examples have 3
EXAMPLES = ("#009e73", "#e69f00")  # the colours of the two example units


def weight_matrix(
    weights: pd.DataFrame, units: pd.DataFrame, layer: str, source: str, target: str, decay: float
) -> Floats:
    """(S_target, S_source): the optimum's mapping layer of one decay, row = target unit, from its non-zero weights.

    ``weights`` and ``units`` are the tables mapping_weights and units. Raises Undrawable where a network is not there.
    """
    sizes = []
    for net in (target, source):
        count = int(((units["layer"] == layer) & (units["net"] == net)).sum())
        if not count:
            raise Undrawable(
                f"The table units has no units of {net} at layer {layer}; name a network and layer it has."
            )
        sizes.append(count)
    chosen = _of_pair(weights[weights["solver"] == "exact"], layer, source, target, decay)
    matrix = np.zeros(sizes)
    matrix[chosen["target_unit"], chosen["source_unit"]] = chosen["weight"]
    return matrix


def aligned_order(matrix: Floats) -> tuple[Ints, Ints]:
    """The orders of rows and of columns that bring each target unit to the source unit of largest weight.

    Target units that are predicted most by the same source unit stand together, these groups by falling largest
    weight; source units stand in the order of their groups, those that predict no target most last. So every row's
    largest weight lies on a staircase from the upper left corner. Largest is meant in absolute value; rows without a
    weight stand last.
    """
    size = np.abs(matrix)
    best, largest = size.argmax(1), size.max(1)
    strength = np.full(matrix.shape[1], -1.0)  # of a source unit: the largest weight with which it is some row's best
    used = largest > 0
    np.maximum.at(strength, best[used], largest[used])
    columns = np.argsort(-strength, kind="stable")
    place = np.empty(len(columns), dtype=np.int64)
    place[columns] = np.arange(len(columns))
    group = np.where(used, place[best], len(columns))
    rows = np.lexsort((np.arange(len(matrix)), -largest, group))
    return rows, columns


def example_units(mapping_units: pd.DataFrame, matrix: Floats, count: int = 2) -> list[int]:
    """The target units best predicted (r2 on images held out, else on those of the fit) by ``FEW`` source units.

    Where there are not enough of them, those with the nearest number. ``mapping_units``: rows of this mapping layer.
    """
    table = mapping_units.set_index("target_unit")
    predictors = pd.Series((matrix != 0).sum(1)).loc[table.index]
    away = (FEW[0] - predictors).clip(lower=0) + (predictors - FEW[1]).clip(lower=0)
    r2 = table["heldout_r2"].fillna(table["r2"])
    candidates = pd.DataFrame({"away": away, "r2": -r2})[(predictors > 0) & r2.notna()]
    return [int(unit) for unit in candidates.sort_values(["away", "r2"], kind="stable").index[:count]]


def mapping_matrix(
    weights: pd.DataFrame,
    mapping_units: pd.DataFrame,
    units: pd.DataFrame,
    layer: str,
    source: str,
    target: str,
    decay: float,
    portraits: Portraits = NONE,
) -> Figure:
    """Figure 6: the optimum's mapping layer, the same with target units at their best source unit, and two examples.

    The arguments are those of `weight_matrix`. Both matrices share a scale, white for 0; the rows of the example
    units are marked in their colours.
    """
    matrix = weight_matrix(weights, units, layer, source, target, decay)
    rows = _of_pair(mapping_units[mapping_units["solver"] == "exact"], layer, source, target, decay)
    examples = example_units(rows, matrix)
    r2 = rows.set_index("target_unit")["heldout_r2"].fillna(rows.set_index("target_unit")["r2"])
    title = f"Mapping layer from {source} to {target}, {layer}, decay {decay_name(decay)}"
    used = {unit: _predictors(matrix[unit]) for unit in examples}
    pictures = portraits.of(
        layer, [(target, unit) for unit in used] + [(source, other) for few in used.values() for other in few]
    )
    tallest = max((picture.shape[0] / picture.shape[1] for picture in pictures.values()), default=0.0)
    height = 0.55 + 0.66 * tallest  # of the examples, inches
    figure = page(4.3 + height, title, _caption(matrix, portraits.caption))
    grid = figure.add_gridspec(2, 1, height_ratios=[3.4, height])
    _draw_matrices(figure.add_subfigure(grid[0]), matrix, examples, source, target)
    columns = 1 + FEW[1]
    ratios = [*[1.0] * columns, 0.2, *[1.0] * columns]
    below = figure.add_subfigure(grid[1]).subplots(1, len(ratios), width_ratios=ratios)
    draw_portraits(below, [], pictures)
    for unit, colour, panels in zip(examples, EXAMPLES, (below[:columns], below[-columns:]), strict=False):
        shown = [(target, unit), *((source, other) for other in used[unit])]
        draw_portraits(panels, shown, pictures)
        _name_example(panels, shown, matrix[unit], float(r2[unit]), colour)
    return figure


def _of_pair(rows: pd.DataFrame, layer: str, source: str, target: str, decay: float) -> pd.DataFrame:
    return rows[
        (rows["layer"] == layer)
        & (rows["source_net"] == source)
        & (rows["target_net"] == target)
        & (rows["decay"] == decay)
    ]


def _draw_matrices(part: SubFigure, matrix: Floats, examples: list[int], source: str, target: str) -> None:
    rows, columns = aligned_order(matrix)
    limit = float(np.abs(matrix).max()) or 1.0
    axes = part.subplots(1, 2)
    panels = (
        (axes[0], matrix, "(a) mapping layer", np.arange(len(matrix))),
        (axes[1], matrix[np.ix_(rows, columns)], "(b) target units at their best source unit", rows),
    )
    for panel, shown, title, order in panels:
        image = panel.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto")
        for unit, colour in zip(examples, EXAMPLES, strict=False):
            at = int(np.flatnonzero(order == unit)[0])
            thin = min(1.0, 30 / len(shown))  # or it hides the row that it frames
            frame = Rectangle((-0.5, at - 0.5), shown.shape[1], 1, fill=False, edgecolor=colour, linewidth=thin)
            panel.add_patch(frame)
            panel.plot(1.015, at, "<", color=colour, markersize=5, transform=panel.get_yaxis_transform(), clip_on=False)
        permuted = ", permuted" if panel is axes[1] else ""
        label(panel, title, f"unit of {source}{permuted}", f"unit of {target}{permuted}")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
        if permuted:
            panel.set(xticks=[], yticks=[])
    bar = part.colorbar(image, ax=list(axes), shrink=0.7, aspect=25)
    bar.set_label("weight", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TICKS)


def _predictors(weights: Floats) -> list[int]:
    """The source units with a weight, the largest first, as many as are shown. ``weights`` (S_source,)."""
    order = np.argsort(-np.abs(weights), kind="stable")
    return [int(unit) for unit in order[: min(np.count_nonzero(weights), FEW[1])]]


def _name_example(
    panels: Sequence[Axes], shown: Sequence[tuple[str, int]], weights: Floats, r2: float, colour: str
) -> None:
    """Write over its panels which target unit an example is and, right of it, its predictors with their weights."""
    for axes, (net, unit) in zip(panels, shown, strict=False):
        first = axes is panels[0]
        above = f"{net}\n{unit}" if first else f"{weights[unit]:+.2f}\n{net} {unit}"
        axes.set_title(above, fontsize=TICKS, pad=3, color=colour if first else "black")
    if panels[0].images:
        panels[0].spines[:].set(visible=True, color=colour, linewidth=1.5)
    left_out = int(np.count_nonzero(weights)) - (len(shown) - 1)
    text = f"r² {r2:.2f}" + (f"; and {counted(left_out, 'smaller weight')}" if left_out else "")
    written = panels[0].text(0, -0.03, text, transform=panels[0].transAxes, fontsize=TICKS, color=QUIET, va="top")
    written.set_in_layout(False)  # it may run on under the panels beside it


def _caption(matrix: Floats, pictures: str) -> str:
    predictors = (matrix != 0).sum(1)
    negative = (matrix < 0).sum() / max(int((matrix != 0).sum()), 1)
    one = int((predictors == 1).sum())
    text = (
        f"A target unit is predicted by {predictors.mean():.1f} of {matrix.shape[1]} source units on average; "
        f"{counted(one, 'unit')} by one alone, {int((predictors == 0).sum())} by none. {negative:.0%} of the weights "
        "are negative. Marked rows: the units below, each with its predictors and their weights."
    )
    return f"{text} {pictures}".strip()
