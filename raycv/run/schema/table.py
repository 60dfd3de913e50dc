"""What a table is: its columns, their types, units and meanings."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type and what a value means, with its unit of measure."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table. A large table has one folder per value of the column ``partition`` (``layer=conv1/``)."""

    name: str
    stage: str
    meaning: str
    columns: tuple[Column, ...]
    partition: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema with the meanings as field metadata."""
        return pa.schema(
            [pa.field(c.name, c.type, metadata={"meaning": c.meaning}) for c in self.columns],
            metadata={"raycv.table": self.name, "meaning": self.meaning},
        )
