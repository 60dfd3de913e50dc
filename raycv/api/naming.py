"""How tables name layers: by one column where only layers of one name are compared, and in the networks' order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from raycv.api.members import Member

SIDES = (("layer_a", "layer_b"), ("source_layer", "target_layer"))
COLUMNS = ("layer", *(name for side in SIDES for name in side))


@dataclass(frozen=True)
class LayerNames:
    """All layers of a comparison: their ``order``, and whether it ``is_of_namesakes`` alone."""

    order: tuple[str, ...]
    is_of_namesakes: bool

    @classmethod
    def of(cls, groups: Iterable[Sequence[Member]], *, is_across: bool) -> LayerNames:
        """Those of the members that are compared with each other, group by group.

        ``is_across``: all layers of a network with all of another, whatever their names happen to be.
        """
        of_net: dict[str, list[str]] = {}
        alike = not is_across
        for members in groups:
            alike &= len({member.layer for member in members}) == 1
            for member in members:
                of_net.setdefault(member.net, []).append(member.layer)
        return cls(tuple(_merged(of_net.values())), alike)

    def named(self, rows: pd.DataFrame) -> pd.DataFrame:
        """``rows`` with layers as ordered categories, and one column ``layer`` where two would be the same."""
        for first, second in SIDES if self.is_of_namesakes else ():
            if first in rows:
                layers = rows[first]
                rows = rows.drop(columns=[first, second, "layer"], errors="ignore")
                rows.insert(0, "layer", layers)
        return ordered(rows, self.order)


def ordered(rows: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """``rows`` whose columns of layers sort in this order; a layer that it lacks stands behind, as it comes."""
    columns = [name for name in COLUMNS if name in rows]
    there = [str(layer) for name in columns for layer in rows[name].dropna().unique()]
    kind = pd.CategoricalDtype(list(dict.fromkeys([*order, *there])), ordered=True)
    return rows.astype(dict.fromkeys(columns, kind))


def _merged(lists: Iterable[Sequence[str]]) -> list[str]:
    """All names, each once; one that an earlier list lacks stands behind what it follows in its own."""
    found: list[str] = []
    for names in lists:
        before = None
        for name in names:
            if name not in found:
                found.insert(len(found) if before is None else found.index(before) + 1, name)
            before = name
    return found
