"""Recordings in Parquet, one row a sample, on disk or on S3, read from front to back without holding a row group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raycv.data.stored_rows import IDS, ONLY
from raycv.errors import UserError
from raycv.run.damage import refusing_damage
from raycv.run.filesystem import check_file, patiently

ROWS = 1024  # decoded at once
PAGE_BUFFER = 2**20  # bytes of a column that are read at once; Arrow reads all of a row group otherwise


@dataclass
class RowGroups:
    """Columns of a Parquet file as an array (n, S): one of lists, or several of numbers.

    It is indexed by slices. One that follows the last goes on where that ended; any other begins at its row group. It
    can be pickled; the copy begins anew.
    """

    uri: str
    columns: tuple[str, ...]
    groups: tuple[int, ...]  # rows of each
    units: int
    _pieces: Iterator[NDArray[Any]] | None = field(default=None, repr=False)
    _piece: NDArray[Any] = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    _at: int = 0  # number of the first row of ``_piece``

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pieces": None}

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and units."""
        return sum(self.groups), self.units

    def __getitem__(self, wanted: slice) -> NDArray[Any]:
        first, last, _ = wanted.indices(self.shape[0])
        return patiently(self.uri, "read", lambda fs, path: self._between(fs, path, first, last))

    def _between(self, fs: fsspec.AbstractFileSystem, path: str, first: int, last: int) -> NDArray[Any]:
        starts = np.cumsum((0, *self.groups))
        group = int(np.searchsorted(starts, first, side="right")) - 1
        if self._pieces is None or not starts[group] <= self._at <= first:
            self._pieces, self._at = self._read(fs, path, group), int(starts[group])
            self._piece = np.empty((0, self.units))
        found: list[NDArray[Any]] = []
        try:
            while True:
                found.append(self._piece[max(0, first - self._at) : max(0, last - self._at)])
                if self._at + len(self._piece) >= last:
                    break
                self._at += len(self._piece)
                self._piece = next(self._pieces)
        except BaseException:
            self._pieces = None
            raise
        return np.concatenate([part for part in found if len(part)] or found[:1])

    def _read(self, fs: fsspec.AbstractFileSystem, path: str, group: int) -> Iterator[NDArray[Any]]:
        """The rows from the beginning of a row group on."""
        groups = list(range(group, len(self.groups)))
        with _refusing(self.uri), fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(file, buffer_size=PAGE_BUFFER)
            for batch in parquet.iter_batches(ROWS, row_groups=groups, columns=list(self.columns), use_threads=False):
                yield self._values(batch)

    def _values(self, batch: pa.RecordBatch) -> NDArray[Any]:
        columns = [batch.column(name) for name in self.columns]
        if not _is_list(columns[0].type):
            return np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
        (lists,) = columns
        values = lists.flatten().to_numpy(zero_copy_only=False)
        if lists.null_count or len(values) != len(lists) * self.units:
            raise UserError(
                f"The lists in the column {self.columns[0]!r} of {self.uri} are not all of {self.units} numbers as the "
                "first is; write one number for each unit."
            )
        return np.asarray(values.reshape(len(lists), self.units))


def parquet(uri: str) -> dict[str, Any]:
    """The layers of a Parquet file, and the ids: a column "ids", or the index of a pandas frame.

    A column of lists is a layer; columns of numbers are together the units of one. Raises UserError for other columns.
    """

    def read(fs: fsspec.AbstractFileSystem, path: str) -> tuple[pa.Schema, tuple[int, ...], Any, dict[str, int]]:
        check_file(fs, path)
        with _refusing(uri), fs.open(path, "rb") as file:
            opened = pq.ParquetFile(file, buffer_size=PAGE_BUFFER)
            schema, facts = opened.schema_arrow, opened.metadata
            groups = tuple(facts.row_group(number).num_rows for number in range(facts.num_row_groups))
            named = _ids_of(schema)
            ids = opened.read(columns=[named])[named].to_numpy() if named else None
            units = {}
            for column in schema:
                if _is_list(column.type) and sum(groups):
                    first = next(opened.iter_batches(1, columns=[column.name])).column(0)[0].as_py()
                    units[column.name] = len(first or ())
            return schema, groups, ids, units

    schema, groups, ids, units = patiently(uri, "read", read)
    others = [column for column in schema if column.name not in units and column.name != _ids_of(schema)]
    for column in others:
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise UserError(
                f"{uri} has a column {column.name!r} of {column.type}; a layer is a column of lists of numbers, or "
                "columns of numbers, and ids stand in a column named ids."
            )
    arrays: dict[str, Any] = {name: RowGroups(uri, (name,), groups, count) for name, count in units.items()}
    if others:
        arrays[ONLY] = RowGroups(uri, tuple(column.name for column in others), groups, len(others))
    return arrays | ({} if ids is None else {IDS: ids})


def _ids_of(schema: pa.Schema) -> str | None:
    if IDS in schema.names:
        return IDS
    index = [name for name in (schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    return index[0] if len(index) == 1 else None


def _is_list(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _refusing(uri: str) -> Any:
    return refusing_damage(f"{uri} cannot be read as .parquet: it is damaged or of another kind; write it again.")
