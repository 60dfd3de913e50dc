"""How the joint moments of a layer are cut into files, so that no process must hold more than a pair of networks.

A layer's moments are blocks of products, one for each pair of networks. Small blocks share a file, a large block has
one of its own, and a very large one has several, each with some rows. What is said of single units (sums, extremes)
stands beside the products of a network with itself. A partial holds its layers with positions in the same form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from raycv.statistics.moments import Diagonal, JointMoments, Pair, Products, Whole, joined, offsets

ENTRIES = 2**24  # at most, of a file's products; 128 MiB, a pair of networks of 4,096 units
INFORMATION = 2**22  # pairs of units at most, of a piece of mutual information: about a minute of one core
OF_UNITS = ("pilot", "total", "minimum", "maximum", "active", "squares")  # of every unit; squares: Σ y²

Arrays = dict[str, np.ndarray]
Item = TypeVar("Item")


class ProductBlock(NamedTuple):
    """The products Σ y_a y_bᵀ of the units ``first`` ... ``last`` of network a with all units of network b; a <= b."""

    a: int
    b: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """That of its array."""
        return f"{self.a}-{self.b}"

    @property
    def of_units(self) -> dict[str, str]:
        """The names of the arrays about its single units, where it is of a network with itself; else none."""
        return {name: f"{self.a}/{name}" for name in OF_UNITS} if self.a == self.b else {}


Part = tuple[ProductBlock, ...]  # what one file holds


def blocks(widths: Sequence[int], a: int, b: int, entries: int | None = None) -> list[ProductBlock]:
    """Those of one pair of networks a <= b, of at most ``entries`` (2^24) products each, but of one unit at least."""
    rows = max(1, (entries or ENTRIES) // widths[b])
    return [ProductBlock(a, b, first, min(first + rows, widths[a])) for first in range(0, widths[a], rows)]


def parts(widths: Sequence[int], entries: int | None = None) -> list[Part]:
    """All blocks of a layer whose networks have ``widths`` units, in order, cut into files."""
    pairs = [(a, b) for a in range(len(widths)) for b in range(a, len(widths))]
    found = [block for a, b in pairs for block in blocks(widths, a, b, entries)]
    return _filled([(block, (block.last - block.first) * widths[block.b]) for block in found], entries)


def information_blocks(widths: Sequence[int]) -> list[ProductBlock]:
    """Those of the mutual information of all pairs of networks a <= b, which takes longer than products."""
    pairs = [(a, b) for a in range(len(widths)) for b in range(a, len(widths))]
    return [block for a, b in pairs for block in information_of(widths, a, b)]


def information_of(widths: Sequence[int], a: int, b: int) -> list[ProductBlock]:
    """Those of one pair."""
    return blocks(widths, a, b, INFORMATION)


def others_by_part(widths: Sequence[int], network: int, entries: int | None = None) -> list[tuple[int, ...]]:
    """All networks but one, in order, cut so that a part's units times that network's are at most ``entries``."""
    return _filled([(n, widths[network] * width) for n, width in enumerate(widths) if n != network], entries)


def _filled(sized: Iterable[tuple[Item, int]], entries: int | None) -> list[tuple[Item, ...]]:
    """Items, each with its size, in order: as many in each part as together have at most ``entries``, or one."""
    result: list[list[Item]] = [[]]
    filled = 0
    for item, size in sized:
        if result[-1] and filled + size > (entries or ENTRIES):
            result.append([])
            filled = 0
        result[-1].append(item)
        filled += size
    return [tuple(part) for part in result]


def to_arrays(moments: JointMoments, *, products: bool = True) -> Arrays:
    """All blocks of ``moments``, whole, with what is said of single units; and the count.

    Without ``products`` what is said of single units alone.
    """
    bounds, networks = offsets(moments.widths), range(len(moments.widths))
    arrays: Arrays = {"count": moments.count}
    for n in networks:
        units = slice(bounds[n], bounds[n + 1])
        arrays |= {f"{n}/{name}": getattr(moments, name)[units] for name in OF_UNITS[:-1]}
        arrays[f"{n}/squares"] = moments.blocks[n, n].diagonal()
    if not products:
        return arrays
    return arrays | {f"{a}-{b}": moments.products(a, b) for a in networks for b in networks if a <= b}


def from_arrays(arrays: Arrays, widths: Sequence[int], networks: Sequence[int]) -> JointMoments:
    """The moments of ``networks`` in this order, from whole arrays, of which those of products are used up.

    ``widths``: of these networks. Where there are no products, the squares alone are known.
    """
    places = [(a, b) for a in range(len(networks)) for b in range(a, len(networks))]
    blocks: dict[Pair, Products] = {}
    if f"{networks[0]}-{networks[0]}" in arrays:
        for a, b in places:
            n, m = networks[a], networks[b]
            values = arrays.pop(f"{min(n, m)}-{max(n, m)}")
            blocks[a, b] = Whole(values if n <= m else np.ascontiguousarray(values.T))
    else:
        blocks |= {(a, a): Diagonal(arrays[f"{n}/squares"]) for a, n in enumerate(networks)}
    of_units = {name: np.concatenate([arrays[f"{n}/{name}"] for n in networks]) for name in OF_UNITS[:-1]}
    return JointMoments(np.array(widths), count=arrays["count"], blocks=blocks, **of_units)


def cut(arrays: Mapping[str, np.ndarray], prefix: str, part: Part) -> Arrays:
    """What one part holds of the ``arrays`` of all blocks, whose names begin with ``prefix``."""
    found: Arrays = {"count": arrays[f"{prefix}count"]}
    for block in part:
        for name in (block.name, *block.of_units.values()):
            found[name] = arrays[f"{prefix}{name}"][block.first : block.last]
    return found


def added(found: Arrays | None, more: Arrays) -> Arrays:
    """The arrays of one part over more samples, ``found`` changed in place. Raises ValueError for different pilots."""
    if found is None:
        return {name: np.array(values) for name, values in more.items()}
    for name, values in more.items():
        joined(name.rpartition("/")[2], found[name], values, out=found[name])
    return found


def networks_of(part: Iterable[ProductBlock]) -> list[int]:
    """The networks whose units a part is about."""
    return sorted({n for block in part for n in (block.a, block.b)})
