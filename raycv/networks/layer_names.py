"""Which layers a network has, and which of them names mean. Needs no PyTorch."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from raycv.errors import UserError
from raycv.networks.tokens import part_of

SHORT = 16  # tokens of a text in which the layers of a language model are found
SHOWN = 40  # layers at most, as a person reads them


class LayerSize(NamedTuple):
    """What one layer has: units, positions in an image (1 where there are none), and parameters below its module.

    ``grid``: the positions by axis: (height, width), (tokens,) or (). ``axes``: what the axes are of what it gives.
    """

    units: int
    positions: int
    parameters: int
    grid: tuple[int, ...] = ()
    axes: str = "images, units"


def matching(net: str, there: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The layers of ``there`` that match ``patterns``, pattern by pattern; ``*`` also stands for dots.

    A pattern may end in a part of tokens, ``:class`` or ``:patches``. Raises UserError for one that matches none.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        path, tokens = part_of(pattern)
        if pattern in there:  # whatever it holds: a recording may have a layer[0]
            found[pattern] = None
            continue
        some = [layer for layer in there if fnmatchcase(layer, path)]
        if not some:
            raise UserError(f"{net} has no layer {path!r}; the nearest are {', '.join(nearest(path, there))}.")
        found.update(dict.fromkeys(f"{layer}:{tokens}" if tokens else layer for layer in some))
    return list(found)


def nearest(name: str, layers: Sequence[str]) -> list[str]:
    """The layers whose names are most like ``name``; the first ones where none is."""
    return difflib.get_close_matches(name, layers, n=5, cutoff=0.4) or list(layers[:5])


def outline(layers: dict[str, LayerSize]) -> dict[str, LayerSize]:
    """Of many layers those at the top of the module tree, as deep as few enough remain to be read."""
    shown: dict[str, LayerSize] = {}
    for depth in range(1, 1 + max(name.count(".") + 1 for name in layers)):
        deeper = {name: layer for name, layer in layers.items() if name.count(".") < depth}
        if len(deeper) > SHOWN:
            break
        shown = deeper
    return shown or layers
