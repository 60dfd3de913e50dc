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


_PARTITION = Column("layer", pa.string(), "layer, as a module path; see the table layers")


@dataclass(frozen=True)
class Table:
    """One table. A large table has one folder per value of the column ``partition``, see `raycv.run.tables`."""

    name: str
    stage: str
    meaning: str
    columns: tuple[Column, ...]
    partition: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema with the meanings as field metadata, of the rows of one partition: without its column."""
        return self._schema_of(self.columns)

    @property
    def whole(self) -> tuple[Column, ...]:
        """All columns, that of the partition first."""
        return (*((_PARTITION,) if self.partition else ()), *self.columns)

    @property
    def file_schema(self) -> pa.Schema:
        """The schema of a file."""
        return self._schema_of(self.whole)

    def _schema_of(self, columns: tuple[Column, ...]) -> pa.Schema:
        return pa.schema(
            [pa.field(c.name, c.type, metadata={"meaning": c.meaning}) for c in columns],
            metadata={"raycv.table": self.name, "meaning": self.meaning},
        )
