"""What a command has left in a run, compared with what an undisturbed one leaves."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq

from raycv.run.store import RunStore


def contents(store: RunStore) -> dict[str, bytes]:
    return {path: store.read(path) for path in store.list("") if not path.startswith("leases/")}


def rows(content: bytes) -> object:
    """What a file says, without the times that its writing took and the name of the writing."""
    table = pq.read_table(io.BytesIO(content))
    kept = [name for name in table.column_names if name != "seconds"]
    return table.select(kept).replace_schema_metadata().to_pandas()


def same(path: str, found: bytes, expected: bytes) -> bool:
    """Statistics and weights to the last bit, tables row for row."""
    if path.endswith(".npz"):
        a, b = (np.load(io.BytesIO(content)) for content in (found, expected))
        return set(a.files) == set(b.files) and all(a[name].tobytes() == b[name].tobytes() for name in a.files)
    if path.endswith(".parquet"):
        return bool(rows(found).equals(rows(expected)))  # type: ignore[attr-defined]
    return found == expected if path.endswith(".safetensors") else bool(found)
