"""The tables of a run: their columns, types, units and meanings, and the stage that writes each.

The meanings are in the field metadata of every Parquet file; `raycv tables` prints them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from raycv.errors import UserError
from raycv.run.schema import (
    ablate,
    align,
    attribute,
    clusters,
    ensemble,
    mapping,
    merge,
    patches,
    prune,
    stitch,
    study,
    train,
)
from raycv.run.schema.attribute import COMPARED
from raycv.run.schema.patches import LARGEST_PICTURE, MOST_SAMPLED, SAMPLED
from raycv.run.schema.study import GROWING, WITH_NULL
from raycv.run.schema.table import Column, Table

__all__ = [
    "ALL",
    "BY_NAME",
    "COMPARED",
    "GROWING",
    "LARGEST_PICTURE",
    "MOST_SAMPLED",
    "SAMPLED",
    "WITH_NULL",
    "Column",
    "Table",
    "describe",
]

_STAGES = (train, align, mapping, clusters, patches, prune, ablate, ensemble, stitch, merge, study, attribute)
ALL = tuple(table for stage in _STAGES for table in stage.TABLES)
BY_NAME = {table.name: table for table in ALL}


def describe(names: Sequence[str] = ()) -> str:
    """All tables, a line each, or some with their columns, as text to read. Raises UserError for a name of none."""
    lines = [
        "pandas.read_parquet(RUN + '/tables/NAME') reads a table; `raycv tables NAME` says what its columns are.",
        "",
    ]
    width = max(len(table.name) for table in ALL)
    if not names:
        return "\n".join([*lines, *(f"{table.name:{width}}  {_in_short(table)}" for table in ALL)])
    for name in names:
        if name not in BY_NAME:
            raise UserError(f"There is no table {name!r}; allowed are {', '.join(BY_NAME)}.")
        table = BY_NAME[name]
        lines.append(f"{table.name}  (written by `raycv {table.stage}`): {table.meaning}")
        lines += [f"    {c.name:<20} {c.type!s:<8} {c.meaning}" for c in table.whole]
        lines.append("")
    return "\n".join(lines)


def _in_short(table: Table) -> str:
    """What it holds, without what its rows are."""
    return re.split(r";|, one row|, for every", table.meaning)[0]
