"""Parquet files that may be anybody's, read without running code of theirs. The one place that opens any.

Arrow hands a column to the class that is registered for the type that a file gives it. Ray Data registers one whose
values are unpickled as soon as they become Python's or NumPy's, in every process that has imported Ray Train or Tune.
raycv writes no such column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

RAY_TENSORS = ("ray.data.arrow_tensor", "ray.data.arrow_tensor_v2")


def opened(file: IO[bytes], columns: Iterable[str] | None = None, **how: Any) -> pq.ParquetFile:
    """One file of which ``columns`` (None: all) will be read; ``how`` is what ``ParquetFile`` takes.

    Raises pyarrow.ArrowInvalid where one of them may not be read (`check_plain`).
    """
    found = pq.ParquetFile(file, **how)
    try:
        schema = found.schema_arrow
    except pa.ArrowException:
        raise
    except ValueError as error:  # of the library that knows a column's type
        raise pa.ArrowInvalid(str(error)) from None
    check_plain(schema, columns)
    return found


def read(file: IO[bytes], columns: list[str] | None = None, **how: Any) -> pa.Table:
    """Rows of one file; ``how`` is what ``read_table`` takes. Raises pyarrow.ArrowInvalid as `opened` does."""
    opened(file, columns)
    file.seek(0)
    return pq.read_table(file, columns=columns, **how)


def check_plain(schema: pa.Schema, columns: Iterable[str] | None = None) -> None:
    """Raise pyarrow.ArrowInvalid for columns of types that are neither Arrow's own nor Ray's tensors."""
    wanted = schema.names if columns is None else set(columns)
    for field in schema:
        if field.name in wanted:
            foreign = [kind for kind in _parts(field.type) if not _is_plain(kind)]
            if foreign:
                raise pa.ArrowInvalid(f"{field.name} is of the type {foreign[0]}")


def _is_plain(kind: pa.DataType) -> bool:
    return not isinstance(kind, pa.BaseExtensionType) or kind.extension_name.startswith(("arrow.", *RAY_TENSORS))


def _parts(kind: pa.DataType) -> Iterator[pa.DataType]:
    """A type and all that it is made of."""
    yield kind
    if isinstance(kind, pa.DictionaryType):
        yield from _parts(kind.value_type)
    for number in range(kind.num_fields):
        yield from _parts(kind.field(number).type)
