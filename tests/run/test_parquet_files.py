"""Columns whose values are unpickled when they are read: Ray Data registers such a type, and a file may hold it."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # noqa: F401 - registers its types, as Ray Train and Ray Tune do

from raycv.data.prepared import PLACES, images_of_index
from raycv.data.recorded import recorded
from raycv.data.sources import open_source
from raycv.errors import UserError
from raycv.run import parquet_files, tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from raycv.stages.prepare.files import SCHEMA, Folder

called: list[str] = []
PICKLED = {b"ARROW:extension:name": b"ray.data.arrow_pickled_object", b"ARROW:extension:metadata": b""}


def note(what: str) -> None:
    called.append(what)


class Evil:
    """What calls a function once it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return note, ("called",)


def file_of(schema: pa.Schema, pickled: set[str], metadata: dict[bytes, bytes] | None = None) -> bytes:
    """A file of two rows in which some columns hold pickles and the rest nothing."""
    fields = [pa.field(f.name, pa.large_binary(), metadata=PICKLED) if f.name in pickled else f for f in schema]
    columns = [[pickle.dumps(Evil())] * 2 if f.name in pickled else pa.nulls(2, f.type) for f in fields]
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=pa.schema(fields, metadata=metadata)), buffer)
    return buffer.getvalue()


def of_sweep(folder: Path, pickled: set[str]) -> Any:
    results = TrialResults(RunStore(str(folder)), "sweeps/one")
    results.keep("a/b", {})
    results.store.write("sweeps/one/a/b/clusterings.parquet", file_of(BY_NAME["clusterings"].schema, pickled))
    return results.rows("a/b", "clusterings").to_pandas()


def of_table(folder: Path, pickled: set[str]) -> Any:
    store = RunStore(str(folder))
    store.write("tables/training/training.parquet", file_of(BY_NAME["training"].file_schema, pickled))
    return tables.read(store, "training")


def of_index(folder: Path, pickled: set[str]) -> Any:
    schema = pa.schema([*((name, pa.int64()) for name in PLACES), ("crc32", pa.int64())])
    RunStore(str(folder)).write("train/index.parquet", file_of(schema, pickled))
    return images_of_index(str(folder), "train", 2)


def of_portion(folder: Path, pickled: set[str]) -> Any:
    store = RunStore(str(folder))
    store.write("parts/x.parquet", file_of(SCHEMA, pickled))
    return Folder(store).part("x")["offset"].to_pylist()


def of_recording(folder: Path, pickled: set[str]) -> Any:
    """Named by an index of pandas."""
    about = {b"pandas": json.dumps({"index_columns": ["offset"], "columns": []}).encode()}
    schema = pa.schema([("offset", pa.string()), ("0", pa.float32())])
    RunStore(str(folder)).write("r.parquet", file_of(schema, pickled, about))
    return recorded("a", str(folder / "r.parquet"))


def of_images(folder: Path, pickled: set[str]) -> Any:
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    RunStore(str(folder)).write("train/0.parquet", file_of(schema, {"label"} if pickled else set()))
    return open_source(str(folder), "train")


@pytest.mark.parametrize(
    ("read", "column"),
    [
        (of_sweep, "k"),
        (of_sweep, "layer"),
        (of_table, "net"),
        (of_table, "epoch"),
        (of_index, "offset"),
        (of_index, "crc32"),
        (of_portion, "offset"),
        (of_recording, "offset"),
        (of_recording, "0"),
        (of_images, "label"),
    ],
)
def test_nothing_is_unpickled(read: Callable[[Path, set[str]], Any], column: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        read(tmp_path, {column})
    assert not called


def test_a_reader_that_does_not_look_would_unpickle() -> None:
    """So the tests above can fail."""
    pq.read_table(io.BytesIO(file_of(pa.schema([("a", pa.string())]), {"a"}))).to_pandas()
    assert called
    called.clear()


@pytest.mark.parametrize(
    "around",
    [
        lambda kind: kind,
        pa.list_,
        pa.large_list,
        lambda kind: pa.struct([("a", kind)]),
        lambda kind: pa.map_(pa.string(), kind),
        lambda kind: pa.list_(kind, 2),
        lambda kind: pa.struct([("a", pa.list_(pa.struct([("b", kind)])))]),
    ],
)
def test_types_are_found_wherever_they_are(around: Callable[[pa.DataType], pa.DataType]) -> None:
    kind = pq.read_schema(io.BytesIO(file_of(pa.schema([("a", pa.string())]), {"a"}))).field("a").type
    schema = pa.schema([("a", around(kind)), ("b", around(pa.int8()))])
    parquet_files.check_plain(schema, ["b"])
    with pytest.raises(pa.ArrowInvalid, match="a is of the type"):
        parquet_files.check_plain(schema)


def test_tensors_and_arrows_own_types_are_read() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    table = pa.table({"tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(rows)})
    table = table.append_column("name", pa.array([bytes(16)] * 3, pa.binary(16)).cast(pa.uuid()))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    assert parquet_files.read(io.BytesIO(buffer.getvalue())) == table
