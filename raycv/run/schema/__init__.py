"""The tables of a run: their columns, types, units and meanings, and the stage that writes each.

The meanings are in the field metadata of every Parquet file; `raycv tables` prints them.
"""

from __future__ import annotations

from raycv.run.schema import ablate, align, clusters, ensemble, mapping, merge, patches, prune, stitch, study, train
from raycv.run.schema.patches import LARGEST_PICTURE
from raycv.run.schema.study import GROWING, WITH_NULL
from raycv.run.schema.table import Column, Table

__all__ = ["ALL", "BY_NAME", "GROWING", "LARGEST_PICTURE", "WITH_NULL", "Column", "Table", "describe"]

_STAGES = (train, align, mapping, clusters, patches, prune, ablate, ensemble, stitch, merge, study)
ALL = tuple(table for stage in _STAGES for table in stage.TABLES)
BY_NAME = {table.name: table for table in ALL}


def describe() -> str:
    """All tables and columns, as text to read."""
    lines = ["pandas.read_parquet(RUN + '/tables/NAME') reads a table.", ""]
    for table in ALL:
        lines.append(f"{table.name}  (written by `raycv {table.stage}`): {table.meaning}")
        lines += [f"    {c.name:<20} {c.type!s:<8} {c.meaning}" for c in table.whole]
        lines.append("")
    return "\n".join(lines)
