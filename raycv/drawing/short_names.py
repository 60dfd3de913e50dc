"""Short names of layers in figures, whose room is that of a page: what all names have in common is said once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.table import Cell
from matplotlib.text import Text

from raycv.drawing.style import caption, title

LONGEST = 14  # characters of a name for which every figure has room


def shorten(figure: Figure, layers: Sequence[str]) -> None:
    """Give the ``layers`` that a figure names short names, and say in its caption what these stand for."""
    names = {layer: short for layer, short in short_names(layers).items() if short != layer}
    if not names:
        return
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    for axes in figure.axes:
        _shorten_ticks(axes, pattern, names)
    changed = False
    for text in _texts(figure):
        short = _replaced(text.get_text(), pattern, names)
        changed |= short != text.get_text()
        text.set_text(short)
    if changed:
        first = next(iter(names))
        title(figure, figure.get_suptitle())
        caption(figure, f"{figure.get_supxlabel()} Names of layers are short: {names[first]} is {first}.")


def short_names(layers: Sequence[str]) -> dict[str, str]:
    """By layer what tells its path from the others': without the modules with which all paths begin and end.

    Names are as they are where all are short, and have … in the place of their middle where that is not enough.
    """
    if max(map(len, layers), default=0) <= LONGEST:
        return {layer: layer for layer in layers}
    paths = [layer.split(".") for layer in dict.fromkeys(layers)]
    most = min(map(len, paths)) - 1
    begin = min(_alike(paths), most)
    end = min(_alike([path[::-1] for path in paths]), most - begin)
    if any(path[begin].isdecimal() and len(path) - begin - end == 1 for path in paths):
        begin = max(begin - 1, 0)  # a number alone is read as one
    told = {".".join(path): ".".join(path[begin : len(path) - end]) for path in paths}
    cut = {layer: _without_middle(name) for layer, name in told.items()}
    return cut if len(set(cut.values())) == len(cut) else told


def _alike(paths: Sequence[Sequence[str]]) -> int:
    """How many modules stand at the beginning of all paths."""
    alike = [len(set(modules)) == 1 for modules in zip(*paths, strict=False)]
    return [*alike, False].index(False)


def _without_middle(name: str) -> str:
    half = (LONGEST - 1) // 2
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1 - half]}…{name[-half:]}"


def _texts(figure: Figure) -> Iterator[Text]:
    for found in figure.findobj(lambda artist: isinstance(artist, Text | Cell)):
        if isinstance(found, Cell):
            yield found.get_text()
        elif isinstance(found, Text):
            yield found


def _replaced(text: str, pattern: re.Pattern[str], names: Mapping[str, str]) -> str:
    return pattern.sub(lambda found: names[found.group()], text)


def _shorten_ticks(axes: Axes, pattern: re.Pattern[str], names: Mapping[str, str]) -> None:
    """Of an axis the labels, which are made anew whenever a figure is drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        before = [text.get_text() for text in axis.get_ticklabels()]
        after = [_replaced(text, pattern, names) for text in before]
        if after != before:
            axis.set_ticks(axis.get_ticklocs(), labels=after)
