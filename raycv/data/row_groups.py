"""Recordings in Parquet, one row a sample, on disk or on S3, read from front to back without holding a row group.

A recording is a file, or a folder of parts as Ray, Spark and Dask write it. Tensors of a fixed shape are read as the
extension types of Arrow and of Ray have them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raycv.data.contents import IDS, ONLY, Contents, unit_columns
from raycv.data.natural import natural
from raycv.errors import UserError
from raycv.run import parquet_files
from raycv.run.damage import refusing_damage
from raycv.run.filesystem import check_file, filesystem, with_retries
from raycv.run.parquet_files import RAY_TENSORS, check_plain

ROWS = 1024  # decoded at once
PAGE_BUFFER = 2**20  # bytes of a column read at once; else, or with pre_buffer, Arrow reads all of a row group


class RowGroup(NamedTuple):
    """One row group of one of the files of a recording."""

    uri: str
    number: int
    rows: int


@dataclass
class RowGroups:
    """Columns of Parquet files as an array (n, ...): one of lists or tensors, or several of numbers.

    It is indexed by slices. One that follows the last goes on where that ended; any other begins at its row group. It
    can be pickled; the copy begins anew.
    """

    columns: tuple[str, ...]
    groups: tuple[RowGroup, ...]
    inner: tuple[int, ...]  # the shape of one sample
    dtype: np.dtype[Any]
    _pieces: Iterator[NDArray[Any]] | None = field(default=None, repr=False)
    _piece: NDArray[Any] = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    _at: int = 0  # number of the first row of ``_piece``

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pieces": None}

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples and units, and positions where there are any."""
        return sum(group.rows for group in self.groups), *self.inner

    def __getitem__(self, wanted: slice) -> NDArray[Any]:
        first, last, _ = wanted.indices(self.shape[0])
        starts = np.cumsum((0, *(group.rows for group in self.groups)))
        group = int(np.searchsorted(starts, first, side="right")) - 1
        uri = self.groups[min(group, len(self.groups) - 1)].uri
        return with_retries(uri, "read", lambda _fs, _path: self._between(starts, group, first, last))

    def _between(self, starts: NDArray[np.int64], group: int, first: int, last: int) -> NDArray[Any]:
        if self._pieces is None or not starts[group] <= self._at <= first:
            self._pieces, self._at = self._read(group), int(starts[group])
            self._piece = np.empty((0, *self.inner), self.dtype)
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

    def _read(self, group: int) -> Iterator[NDArray[Any]]:
        """The rows from the beginning of a row group on."""
        rest = self.groups[group:]
        for uri in dict.fromkeys(one.uri for one in rest):
            numbers = [one.number for one in rest if one.uri == uri]
            fs, path = filesystem(uri)
            with _refusing(uri), fs.open(path, "rb") as file:
                columns = list(self.columns)
                parquet = _opened(file, columns)
                for batch in parquet.iter_batches(ROWS, row_groups=numbers, columns=columns, use_threads=False):
                    yield self._values(uri, batch)

    def _values(self, uri: str, batch: pa.RecordBatch) -> NDArray[Any]:
        columns = [batch.column(name) for name in self.columns]
        if not _is_list(_storage(columns[0].type)):
            return np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
        (lists,) = columns
        if isinstance(lists, pa.ExtensionArray):
            lists = lists.storage
        length = math.prod(self.inner)
        if lists.null_count or not pc.all(pc.equal(pc.list_value_length(lists), length), min_count=0).as_py():
            raise UserError(
                f"The lists in the column {self.columns[0]!r} of {uri} are not all of {length} numbers as the first "
                "is; write one number for each unit."
            )
        values = lists.flatten().to_numpy(zero_copy_only=False)
        kind = batch.schema.field(self.columns[0]).type
        if isinstance(kind, pa.FixedShapeTensorType) and kind.permutation is not None:  # stored in another order
            stored = np.argsort(kind.permutation)
            values = values.reshape(len(lists), *np.array(self.inner)[stored])
            return np.asarray(values.transpose(0, *(1 + np.array(kind.permutation))))
        return np.asarray(values.reshape(len(lists), *self.inner))


class _Part(NamedTuple):
    """What one file of a recording says of itself."""

    schema: pa.Schema
    groups: tuple[RowGroup, ...]
    ids: NDArray[Any] | None
    is_numbered: bool


def parquet(uri: str) -> Contents:
    """The layers of a Parquet file or folder, and the ids: a column "ids", or the index of a pandas frame.

    A column of lists or of tensors is a layer; columns of numbers are together the units of one. Raises UserError for
    other columns, and for parts that do not fit together.
    """
    parts = [with_retries(file, "read", partial(_part, file)) for file in _files(uri)]
    first = parts[0]
    kinds_of_first = _kinds(first.schema)
    for part in parts[1:]:
        if _kinds(part.schema) != kinds_of_first:
            where = part.groups[0].uri if part.groups else uri
            raise UserError(f"{where} has other columns than {first.groups[0].uri if first.groups else uri}.")
    groups = tuple(group for part in parts for group in part.groups)
    shapes = {column.name: _shape(column, groups) for column in first.schema if _is_list(_storage(column.type))}
    about = {*_index_of(first.schema), IDS}
    numbers = [column for column in first.schema if column.name not in shapes and column.name not in about]
    arrays: dict[str, Any] = {
        name: RowGroups((name,), groups, shape, _dtype(_storage(first.schema.field(name).type).value_type))
        for name, shape in shapes.items()
    }
    unit_names = {}
    if numbers:
        kinds = {column.name: str(column.type) for column in numbers}
        units = unit_columns(uri, kinds | dict.fromkeys(shapes, "lists") if shapes else kinds)
        arrays[ONLY] = RowGroups(tuple(units), groups, (len(units),), _dtype(numbers[0].type))
        if units != [str(n) for n in range(len(units))]:
            unit_names[ONLY] = tuple(units)
    ids, is_numbered = _ids_of(parts)
    return Contents(arrays, ids, is_numbered, unit_names)


def _files(uri: str) -> list[str]:
    """The file itself, or the parts of a folder in natural order, without those that only say something of it."""

    def find(fs: fsspec.AbstractFileSystem, path: str) -> list[str] | None:
        return [name[len(path) :].lstrip("/") for name in fs.find(path)] if fs.isdir(path) else None

    found = with_retries(uri, "list", find)
    if found is None:
        return [uri]
    names = [name for name in found if not any(part.startswith(("_", ".")) for part in name.split("/"))]
    parts = [name for name in names if name.lower().endswith(".parquet")]
    if not parts:
        raise UserError(f"The folder {uri} holds no Parquet files; name a recording.")
    if any("/" in name for name in parts):
        raise UserError(f"The folder {uri} holds Parquet files in folders of its own; name one folder of parts.")
    return [f"{uri}/{name}" for name in natural(parts)]


def _part(uri: str, fs: fsspec.AbstractFileSystem, path: str) -> _Part:
    check_file(fs, path)
    with _refusing(uri), fs.open(path, "rb") as file:
        opened = _opened(file, ())
        schema, facts = opened.schema_arrow, opened.metadata
        groups = tuple(RowGroup(uri, n, facts.row_group(n).num_rows) for n in range(facts.num_row_groups))
        index = _index_of(schema)
        check_plain(schema, [IDS, *index])
        if IDS in schema.names:
            return _Part(schema, groups, opened.read(columns=[IDS])[IDS].to_numpy(), False)
        if index:
            columns = [opened.read(columns=[name])[name].to_pylist() for name in index]
            names = columns[0] if len(index) == 1 else [repr(of) for of in zip(*columns, strict=True)]
            return _Part(schema, groups, np.array(names, dtype=object), False)
        for of in (schema.pandas_metadata or {}).get("index_columns", []):
            if isinstance(of, dict) and of.get("kind") == "range" and of.get("stop") is not None:
                numbers = np.arange(of["start"], of["stop"], of["step"])
                if len(numbers) == facts.num_rows:
                    return _Part(schema, groups, numbers, of["step"] == 1)
        return _Part(schema, groups, None, False)


def _index_of(schema: pa.Schema) -> list[str]:
    """The columns that are the index of a pandas frame."""
    named = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in named if isinstance(name, str) and name in schema.names]


def _ids_of(parts: list[_Part]) -> tuple[NDArray[Any] | None, bool]:
    """The ids of all parts, and whether they only number the rows."""
    found = [part.ids for part in parts if part.ids is not None]
    if len(found) < len(parts):
        return None, False
    ids = np.concatenate(found)
    is_numbered = all(part.is_numbered for part in parts)
    if is_numbered and len(np.unique(ids)) < len(ids):  # each part numbers its own rows
        return None, False
    return ids, is_numbered


def _shape(column: pa.Field, groups: tuple[RowGroup, ...]) -> tuple[int, ...]:
    """The shape of one sample in a column of lists or tensors."""
    kind, metadata = column.type, column.metadata or {}
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = np.array(kind.shape)
        return tuple(shape[list(kind.permutation)].tolist() if kind.permutation is not None else shape.tolist())
    if isinstance(kind, pa.BaseExtensionType):  # of Ray, where Ray Data has been imported
        return tuple(int(size) for size in kind.shape)
    if metadata.get(b"ARROW:extension:name", b"").decode() in RAY_TENSORS:
        return tuple(int(size) for size in json.loads(metadata[b"ARROW:extension:metadata"]))
    if pa.types.is_fixed_size_list(kind):
        return (int(kind.list_size),)
    group = next((one for one in groups if one.rows), None)
    return (0,) if group is None else (_first_length(column.name, group),)


def _first_length(column: str, group: RowGroup) -> int:
    fs, path = filesystem(group.uri)
    with _refusing(group.uri), fs.open(path, "rb") as file:
        opened = _opened(file, [column])
        first = next(opened.iter_batches(1, [group.number], [column]))
        return len(first.column(0)[0].as_py() or ())


def _kinds(schema: pa.Schema) -> dict[str, str]:
    return {column.name: str(column.type) for column in schema}


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return found


def _storage(kind: pa.DataType) -> pa.DataType:
    """How values of a type are stored: tensors of Arrow and Ray as lists."""
    is_tensor = isinstance(kind, pa.FixedShapeTensorType) or (
        isinstance(kind, pa.BaseExtensionType) and kind.extension_name in RAY_TENSORS
    )
    return kind.storage_type if is_tensor else kind


def _is_list(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _opened(file: IO[bytes], columns: Sequence[str]) -> Any:
    return parquet_files.opened(file, columns, buffer_size=PAGE_BUFFER, pre_buffer=False)


def _refusing(uri: str) -> Any:
    return refusing_damage(f"{uri} cannot be read as .parquet: it is damaged or of another kind; write it again.")
