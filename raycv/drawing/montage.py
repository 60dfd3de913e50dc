"""Units as pictures: blocks of their top patches, and rows of such blocks (paper, figures 2, 9, 14)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from raycv.drawing.style import QUIET, TEXT, WIDTH, page
from raycv.drawing.undrawable import Undrawable
from raycv.run.schema import LARGEST_PICTURE

BETWEEN = 0.5  # columns of white space between groups of units
GREY, WHITE = 128, 255
Blocks = dict[tuple[str, int], NDArray[np.uint8]]

_BOX = ("y0", "x0", "y1", "x1")
_SIDES = (("y0", "y1"), ("x0", "x1"))
_LARGE = 32  # pixels; smaller tiles are enlarged, so that the gaps between them stay thin
_GAP = 1 / 16  # of a tile
_SMALL_TEXT, _SMALL_LINE = 5.5, 0.09  # points; inches from line to line
_LINE = 0.15  # inches: from line to line of titles and captions
_HEADING, _MARGIN, _SIDE = 0.2, 0.03, 0.18  # inches: above a row, below it, left of it
_PICTURE = 0.94  # of a column's width


def blocks(patches: pd.DataFrame, pictures: pd.DataFrame, layer: str, units: pd.DataFrame, side: int = 3) -> Blocks:
    """One picture (H, W, 3) for each of ``units`` (columns ``net`` and ``unit``) of ``layer``.

    The upper half shows the unit's first ``side`` x ``side`` patches in rows, starting with rank 1. The lower half
    shows, in the same order, what drives the unit in each patch. ``patches``: all rows of the table top_patches for the
    layer, because all tiles have the size of its largest box. ``pictures``: rows of patch_pictures. A box that the
    image's border cuts off is padded with neutral grey on that side; a missing rank is all grey. Raises Undrawable if
    a unit has no pictures or the two tables do not belong together.
    """
    of_layer = patches[patches["layer"] == layer]
    largest = [int((of_layer[high] - of_layer[low]).max()) for low, high in _SIDES] if len(of_layer) else [0, 0]
    scale = min(1.0, LARGEST_PICTURE / max(1, *largest))
    height, width = (round(scale * extent) for extent in largest)
    wanted = pictures[(pictures["layer"] == layer) & (pictures["rank"] <= side**2)]
    boxes = of_layer[["net", "unit", "rank", *_BOX]]
    by_unit = dict(iter(wanted.merge(boxes, on=["net", "unit", "rank"]).groupby(["net", "unit"])))
    found = {}
    for net, unit in dict.fromkeys(zip(units["net"], units["unit"], strict=True)):
        if (net, unit) not in by_unit:
            raise Undrawable(f"Unit {unit} of {net} at layer {layer} has no pictures.")
        halves = []
        for column in ("patch", "drive"):
            tiles = np.full((side**2, height, width, 3), GREY, dtype=np.uint8)
            rows = by_unit[net, unit]
            for content, *place in zip(*(rows[name] for name in (column, "rank", *_BOX)), strict=True):
                rank, top, left, bottom, right = map(int, place)
                extent = [max(1, round(scale * (bottom - top))), max(1, round(scale * (right - left)))]
                picture = _decoded(content, extent if scale < 1 else None)
                if [*picture.shape[:2]] != extent:
                    raise Undrawable(
                        f"The pictures of unit {unit} of {net} at layer {layer} do not have the size in the table "
                        "top_patches."
                    )
                # Place it away from the border that cuts the box off: there the network saw its padding.
                down = height - extent[0] if top == 0 else 0
                across = width - extent[1] if left == 0 else 0
                tiles[rank - 1, down : down + extent[0], across : across + extent[1]] = picture
            halves.append(_grid(tiles, side))
        line = np.full((2 * _gap(height, width), halves[0].shape[1], 3), WHITE, dtype=np.uint8)
        found[net, unit] = np.concatenate([halves[0], line, halves[1]])
    return found


def explained(pictures: pd.DataFrame, side: int) -> str:
    """What a block shows, for captions. ``pictures`` are rows of patch_pictures; ``side`` is that of ``blocks``."""
    methods = " or ".join(map(str, pictures["method"].unique()))
    what = "the patch of highest activation" if side == 1 else f"the {side**2} patches of highest activation"
    return (
        f"Each unit: {what}, beneath what in it drives the unit ({methods}). Grey: beyond the image's border, or "
        "nothing that drives the unit."
    )


def _decoded(content: bytes, extent: Sequence[int] | None) -> NDArray[np.uint8]:
    """The picture (h, w, 3) in a file's bytes, resized to the ``extent`` (h, w) if one is given."""
    with Image.open(io.BytesIO(content)) as image:
        picture = image.convert("RGB")
    return np.asarray(picture if extent is None else picture.resize((extent[1], extent[0])))


def _enlarged(height: int, width: int) -> int:
    """The whole number by which a tile is enlarged."""
    return math.ceil(_LARGE / max(height, width, 1))


def _gap(height: int, width: int) -> int:
    return max(1, round(_GAP * _enlarged(height, width) * max(height, width)))


def _grid(tiles: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``side`` x ``side`` tiles (n, h, w, 3) with white lines between them."""
    _, height, width, _ = tiles.shape
    scale, gap = _enlarged(height, width), _gap(height, width)
    large = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    step_down, step_across = scale * height + gap, scale * width + gap
    grid = np.full((side * step_down, side * step_across, 3), WHITE, dtype=np.uint8)
    for place, tile in enumerate(large):
        top, left = place // side * step_down, place % side * step_across
        grid[top : top + scale * height, left : left + scale * width] = tile
    return grid[:-gap, :-gap]


@dataclass(frozen=True)
class Cell:
    """One picture (H, W, 3), its place in columns from the left, and the lines of text above it."""

    place: float
    picture: NDArray[np.generic]
    text: str = ""


@dataclass(frozen=True)
class Row:
    """Pictures side by side; ``side``: text to their left, ``headings``: texts above them, by place."""

    cells: Sequence[Cell]
    side: str = ""
    headings: Mapping[float, str] = field(default_factory=dict)


def montage(title: str, caption: str, rows: Sequence[Row], columns: float) -> Figure:
    """A page with ``rows`` one below the other, each ``columns`` columns wide."""
    width = (WIDTH - 0.1 - _SIDE) / columns
    heights = [_height(row, width) for row in rows]
    figure = page(1.0, title, caption)
    lines = f"{figure.get_suptitle()}\n{figure.get_supxlabel()}".count("\n") + 1
    figure.set_figheight(sum(heights) + 0.15 + _LINE * lines)
    axes = figure.subplots()
    axes.set(xlim=(-_SIDE, columns * width), ylim=(sum(heights), 0), aspect="equal", autoscale_on=False)
    axes.set_axis_off()
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        _draw(axes, row, top, width)
        top += height
    return figure


def _above(row: Row) -> float:
    """Inches from the top of a row to its pictures."""
    lines = max((cell.text.count("\n") + 1 for cell in row.cells if cell.text), default=0)
    return (_HEADING if row.headings else 0.0) + _SMALL_LINE * lines + _MARGIN


def _height(row: Row, width: float) -> float:
    pictures = (cell.picture.shape for cell in row.cells)
    tallest = max((shape[0] / shape[1] for shape in pictures), default=0.0)
    return _above(row) + _PICTURE * width * tallest + _MARGIN


def _draw(axes: Axes, row: Row, top: float, width: float) -> None:
    for place, heading in row.headings.items():
        axes.text(place * width, top + _HEADING - 0.01, heading, fontsize=TEXT, va="bottom")
    upper = top + _above(row)
    for cell in row.cells:
        left, right = cell.place * width, (cell.place + _PICTURE) * width
        lower = upper + (right - left) * cell.picture.shape[0] / cell.picture.shape[1]
        axes.imshow(cell.picture, extent=(left, right, lower, upper))
        axes.text(
            (left + right) / 2,
            upper - 0.015,
            cell.text,
            fontsize=_SMALL_TEXT,
            color=QUIET,
            ha="center",
            va="bottom",
            linespacing=1.05,
        )
    if row.side:
        middle = (upper + top + _height(row, width)) / 2
        axes.text(-0.04, middle, row.side, fontsize=TEXT, rotation=90, ha="right", va="center")
