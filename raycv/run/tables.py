"""Writing and reading the tables of a run, so that a reader sees the rows of one writing.

An unpartitioned table is one file; a partitioned table has one file per layer, in a folder that the layer can be told
from and that no reader takes for a number or for hidden: layer-0, layer-block%2F1. Every file has all columns, and null
for what is missing, never NaN, which readers other than pandas count as the largest number. File names never change.
All files of a new writing are prepared first and then put in place one after the other, each in one step. Every file
carries the name of its writing; a reader that finds two names waits until the writer has finished. A file of a
partitioned table also lists the layers that the writing has, so that a lost file is noticed.
"""

from __future__ import annotations

import io
import json
import operator
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raycv.errors import UserError
from raycv.run import parquet_files
from raycv.run.damage import refusing_damage
from raycv.run.names import is_ours
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore

if TYPE_CHECKING:  # opening a run is quick, its first table brings pandas
    import pandas as pd

Rows = list[dict[str, Any]]
Filter = tuple[str, str, Any]  # column, one of ==, !=, <, <=, >, >=, in, not in; value
PARTITION = "layer"
WRITING = b"raycv.writing"  # key of the metadata that names a file's writing
LAYERS = b"raycv.layers"  # key of the metadata that lists the layers of a writing, as JSON
ABANDONED_SECONDS = 30.0  # seconds until a table of two writings counts as left behind by a writer that stopped
COMPRESSION = "zstd"
ROW_BYTES = 150  # of memory that a row of a large table takes at most while it is read, in Arrow and in pandas


def typed(name: str, frame: pd.DataFrame) -> pa.Table:
    """``frame`` with exactly the columns and types of table ``name``."""
    return pa.Table.from_pandas(frame, schema=BY_NAME[name].schema, preserve_index=False)


# -- writing ---------------------------------------------------------------------------------------------------------


class Writer:
    """Replaces a partitioned table by one with ``layers``, in a ``with`` block; nothing changes until it ends well.

    Only one part of one layer is in memory at a time.
    """

    def __init__(self, store: RunStore, name: str, layers: Iterable[str]) -> None:
        self.store, self.name = store, name
        self.uri = store.locate(f"tables/{name}")
        self._staging = f"tables/.{name}"  # of files that are ready but not in place; readers of Parquet pass it over
        schema: pa.Schema = BY_NAME[name].file_schema
        of_writing = {WRITING: uuid.uuid4().hex.encode(), LAYERS: json.dumps(list(dict.fromkeys(layers))).encode()}
        self._schema = schema.with_metadata({**schema.metadata, **of_writing})
        self._staged: list[str] = []
        self._file = ""  # being written
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.store.remove(self._staging)  # of a writer that stopped
        return self

    def add(self, layer: str, rows: pd.DataFrame | pa.Table) -> None:
        """Add rows of ``layer``; the parts of a layer come one after the other."""
        table = rows if isinstance(rows, pa.Table) else typed(self.name, rows)
        column = pa.repeat(pa.scalar(layer, pa.string()), len(table))
        self._add(f"{_folder_of(layer)}/{self.name}.parquet", table.add_column(0, PARTITION, column))

    def _add(self, file: str, rows: pd.DataFrame | pa.Table) -> None:
        if file != self._file:
            self._open.close()
            out = self._open.enter_context(self.store.create(f"{self._staging}/{file}"))
            self._writer = self._open.enter_context(
                pq.ParquetWriter(out, self._schema, compression=COMPRESSION, write_page_checksum=True)
            )
            self._file = file
            self._staged.append(file)
        table = rows if isinstance(rows, pa.Table) else typed(self.name, rows)
        self._writer.write_table(_without_nan(table.cast(self._schema)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        if kind is None:
            self._put_in_place()

    def _put_in_place(self) -> None:
        folder = f"tables/{self.name}"
        there = {path.removeprefix(f"{folder}/") for path in files_of(self.store, self.name)}
        # Layers that the table did not have come first: a reader that finds any new file then finds all of them.
        for file in sorted(self._staged, key=lambda file: file in there):
            self.store.put_in_place(f"{self._staging}/{file}", f"{folder}/{file}")
        for file in there.difference(self._staged):
            self.store.remove(f"{folder}/{file}")
        self.store.remove(self._staging)


def _folder_of(layer: str) -> str:
    return f"{PARTITION}-{quote(layer, safe='')}"


def _without_nan(table: pa.Table) -> pa.Table:
    """The same with null in the place of NaN."""
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(place)
            missing = pc.is_nan(column)
            if pc.any(missing, min_count=0).as_py():
                table = table.set_column(place, field, pc.if_else(missing, pa.scalar(None, field.type), column))
    return table


def write(store: RunStore, name: str, frame: pd.DataFrame) -> str:
    """Replace an unpartitioned table; returns its URI."""
    with Writer(store, name, layers=()) as writer:
        writer._add(f"{name}.parquet", frame)
    return writer.uri


def parquet(rows: pa.Table) -> bytes:
    """The bytes of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression=COMPRESSION, write_page_checksum=True)
    return buffer.getvalue()


def write_part(store: RunStore, path: str, name: str, frame: pd.DataFrame) -> None:
    """Keep some rows of table ``name`` in a file outside the tables until all are there."""
    store.write(path, parquet(typed(name, frame)))


def is_part(store: RunStore, path: str, name: str) -> bool:
    """Whether a file is one that ``write_part`` has written for table ``name``, and not truncated."""
    try:
        found, _ = footer(store, path)
    except UserError as error:
        if error.__cause__ is not None:  # the store has failed
            raise
        return False
    return bool(found.names == BY_NAME[name].schema.names)


def read_part(store: RunStore, path: str) -> pa.Table:
    """Rows kept by ``write_part``."""
    with refusing_damage(f"{store.locate(path)} is not a readable file; remove it and run its stage again."):
        return parquet_files.read(io.BytesIO(store.read(path)), page_checksum_verification=True)


# -- reading ---------------------------------------------------------------------------------------------------------


def names(store: RunStore) -> list[str]:
    """The tables that a run has."""
    return sorted({path.split("/")[1] for path in store.list("tables") if is_ours(path)} & BY_NAME.keys())


def files_of(store: RunStore, name: str) -> list[str]:
    """The files of a table, sorted; what a user has put beside them is none of it."""
    return [path for path in store.list(f"tables/{name}") if is_ours(path)]


def rows_of(store: RunStore, name: str) -> dict[str | None, int]:
    """The number of rows of each file of a table, by layer; none where the run does not have the table."""
    found = {}
    for path in files_of(store, name):
        found[_layer_of(path)] = footer(store, path)[1]
    return found


def footer(store: RunStore, path: str) -> tuple[pa.Schema, int]:
    """Schema and number of rows of one Parquet file, from its last bytes. Raises UserError for a damaged one."""

    def read(file: IO[bytes]) -> tuple[pa.Schema, int]:
        with refusing_damage(_unreadable(store.locate(path))):  # here, or Arrow's errors pass for those of the store
            found = parquet_files.opened(file)
            return found.schema_arrow, int(found.metadata.num_rows)

    return store.open(path, read)


def exists(store: RunStore, name: str) -> bool:
    """Whether a run has table ``name``."""
    return bool(files_of(store, name))


def are_whole(store: RunStore, wanted: Iterable[str]) -> bool:
    """Whether a run has all ``wanted`` tables, and each all its layers."""
    return all((paths := files_of(store, name)) and not _lost(_about(store, paths[0]), paths, [[]]) for name in wanted)


def read(
    store: RunStore,
    name: str,
    *,
    columns: Sequence[str] | None = None,
    filters: Sequence[Filter] | Sequence[Sequence[Filter]] | None = None,
) -> pd.DataFrame:
    """The rows of table ``name``, of one writing; layers are strings.

    ``columns`` and ``filters`` are those of ``pandas.read_parquet``. While the table is being replaced, waits. Raises
    UserError where the run does not have the table, where a file of it is damaged, and where it stays half replaced.
    """
    deadline = time.monotonic() + ABANDONED_SECONDS
    while True:
        found = _read_files(store, name, columns, _alternatives(filters))
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise UserError(
                f"The table {name!r} of {store.uri} holds rows of two writings: a stage that was replacing it has "
                f"stopped; run `raycv {BY_NAME[name].stage}` again."
            )
        time.sleep(0.2)


def _alternatives(filters: Any) -> list[list[Filter]]:
    """Filters as alternatives, each a list of conditions that all hold."""
    if not filters:
        return [[]]
    return [list(one) for one in filters] if isinstance(filters[0], list) else [list(filters)]


def _read_files(
    store: RunStore, name: str, columns: Sequence[str] | None, alternatives: list[list[Filter]]
) -> pd.DataFrame | None:
    """The rows of all files that can have matching rows, or None if the files are not of one writing."""
    paths = files_of(store, name)
    if not paths:
        raise UserError(
            f"The run {store.uri} has no table {name!r} yet; run the stage that writes it (`raycv tables` lists which)."
        )
    _check_columns(name, [*(columns or ()), *(column for one in alternatives for column, _, _ in one)])
    wanted = None if columns is None else list(columns)
    writings, parts, files = set(), [], []
    for path in paths:
        layer = _layer_of(path)
        conditions = [rest for one in alternatives if (rest := _of_layer(one, layer)) is not None]
        if conditions:
            try:
                rows = store.open(
                    path, partial(_read_file, name, store.locate(path), columns=wanted, alternatives=conditions)
                )
            except UserError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    return None  # a layer that the new writing does not have
                raise
            writings.add((rows.schema.metadata or {}).get(WRITING))
            parts.append(rows)
            files.append(path)
    if len(writings) > 1 or files_of(store, name) != paths:
        return None
    # Two whole writings may have passed since the first listing, and the second may have the files of the one before.
    about = _about(store, (files or paths)[0])
    if len(files) > 1 and about.get(WRITING) not in writings:
        return None
    lost = _lost(about, paths, alternatives)
    if lost and len({_about(store, path).get(WRITING) for path in paths}) > 1:
        return None  # a writing that is being replaced by one without these layers
    if lost:
        raise UserError(
            f"The table {name!r} of {store.uri} has lost its file of layer {lost[0]}; "
            f"run `raycv {BY_NAME[name].stage}` to write the table again."
        )
    if not parts:  # no layer meets the filters
        none = BY_NAME[name].file_schema.empty_table()
        parts.append(none if wanted is None else none.select(wanted))
    frame: pd.DataFrame = pa.concat_tables([part.replace_schema_metadata() for part in parts]).to_pandas()
    return frame


def _about(store: RunStore, path: str) -> Mapping[bytes, bytes]:
    """The metadata of a file as it is now; none where it is gone."""
    try:
        found: Mapping[bytes, bytes] = footer(store, path)[0].metadata or {}
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return {}
        raise
    return found


def _lost(about: Mapping[bytes, bytes], paths: Sequence[str], alternatives: list[list[Filter]]) -> list[str]:
    """The layers that meet the filters and stand in the metadata of a table's file, but have no file in ``paths``."""
    layers: list[str] = json.loads(about.get(LAYERS, b"[]"))
    there = {_layer_of(path) for path in paths}
    met = [layer for layer in layers if any(_of_layer(one, layer) is not None for one in alternatives)]
    return [layer for layer in met if layer not in there]


def _layer_of(path: str) -> str | None:
    """The layer that a file of a partitioned table is of."""
    start = f"/{PARTITION}-"
    return unquote(path.split(start)[1].split("/")[0]) if start in path else None


def _unreadable(uri: str) -> str:
    return f"{uri} is not a readable table; remove it and run its stage again."


def _read_file(
    name: str, uri: str, file: IO[bytes], columns: list[str] | None, alternatives: list[list[Filter]]
) -> pa.Table:
    """The rows of the file ``uri`` of table ``name`` that meet one of the alternatives."""
    with refusing_damage(_unreadable(uri)):
        found = parquet_files.opened(file, ()).schema_arrow.names
        missing = [column for column in BY_NAME[name].file_schema.names if found.count(column) != 1]
        if missing:
            raise UserError(
                f"{uri} has no column {missing[0]!r}: another version of raycv wrote it; "
                f"run `raycv {BY_NAME[name].stage}` again."
            )
        file.seek(0)
        conditions = None if [] in alternatives else alternatives
        rows = parquet_files.read(file, columns, filters=conditions, page_checksum_verification=True)
        schema = BY_NAME[name].file_schema
        expected = [schema.field(column) for column in (schema.names if columns is None else columns)]
        rows = rows.select([field.name for field in expected])
        rows.validate(full=True)
        return rows.cast(pa.schema(expected, rows.schema.metadata))


def _check_columns(name: str, columns: Sequence[str]) -> None:
    known = BY_NAME[name].file_schema.names
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise UserError(f"The table {name!r} has no column {unknown[0]!r}; it has {', '.join(known)}.")


def _of_layer(conditions: list[Filter], layer: str | None) -> list[Filter] | None:
    """The conditions left for the rows of one layer's file; None where the layer does not meet its own."""
    if layer is None:
        return conditions
    own = [condition for condition in conditions if condition[0] == PARTITION]
    met = all(_MEETS[how](layer, value) for _, how, value in own if how in _MEETS)
    return conditions if met else None


_MEETS: dict[str, Callable[[str, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "in": lambda layer, value: layer in value,
    "not in": lambda layer, value: layer not in value,
}  # the rest is left to Arrow


def units_and_matchings(store: RunStore) -> tuple[pd.DataFrame, pd.DataFrame]:
    """These two tables. Raises UserError unless every pair of networks is matched in every layer, unit by unit."""
    units, matchings = read(store, "units"), read(store, "matchings")
    widths: dict[Any, int] = units.groupby(["layer", "net"])["unit"].max().to_dict()
    matched = matchings.groupby(["layer", "net_a", "net_b"])["unit_a"].max().to_dict()
    nets = dict.fromkeys(units["net"])
    expected = {(layer, a, b): last for (layer, a), last in widths.items() for b in nets if a != b}
    if not expected or matched != expected:
        raise UserError(
            f"The tables 'units' and 'matchings' of {store.uri} do not belong together; remove both and run "
            "`raycv align` again."
        )
    return units, matchings


def last_epochs(store: RunStore) -> Rows:
    """The last epoch's row of every network."""
    frame = read(store, "training")
    last = frame.loc[frame.groupby("net")["epoch"].idxmax()].sort_values("net")
    return [{str(name): value for name, value in row.items()} for row in last.to_dict("records")]
