"""What a document is: a text, or the numbers of its tokens, as a column of Parquet or JSON lines gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raycv.errors import UserError

TEXT, IDS, MASK = "text", "input_ids", "attention_mask"
LARGEST_ID = 2**31 - 1

Document = str | NDArray[np.int32]


@dataclass(frozen=True)
class DocumentColumn:
    """The column ``name`` that holds the documents: texts or, with ``ids``, numbers of tokens.

    With ``masked`` the column attention_mask beside it says which of these are no padding.
    """

    name: str
    ids: bool = False
    masked: bool = False

    @property
    def what(self) -> str:
        """What one of its documents is."""
        return "list of token ids" if self.ids else "text"


def chosen(there: Mapping[str, bool | None], given: str | None, where: str) -> DocumentColumn:
    """Which of the columns ``there`` holds the documents; of each whether it holds ids, None where it holds neither.

    ``given``: what the user names. Raises UserError where there is no such column, or two and none is named.
    """
    names = ", ".join(there)
    name = given or next((name for name in (TEXT, IDS) if name in there), TEXT)
    if given is None and TEXT in there and IDS in there:
        raise UserError(
            f"{where} has both the columns {TEXT!r} and {IDS!r}; say with --text-column which of them holds the "
            "documents."
        )
    if name not in there:
        raise UserError(
            f"{where} has no column {name!r}; name a column of texts or of lists of token ids with --text-column: it "
            f"has {names}."
        )
    kind = there[name]
    if kind is None:
        raise UserError(
            f"The column {name!r} of {where} holds neither texts nor lists of token ids; name one that does with "
            f"--text-column: it has {names}."
        )
    return DocumentColumn(name, kind, masked=kind and MASK in there)


def holds_ids(kind: pa.DataType) -> bool | None:
    """Whether a type of Arrow's is of lists of whole numbers; False for texts, None for anything else."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return False
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return True if listed and pa.types.is_integer(kind.value_type) else None


def of_row(row: Mapping[str, Any], column: DocumentColumn, where: str) -> Document | None:
    """The document of one row, None where it has none. Raises UserError for what is no document."""
    found = row.get(column.name)
    if found is None or (isinstance(found, str) and not column.ids):
        return found
    if not column.ids or isinstance(found, str):
        raise UserError(
            f"{column.name!r} is no {column.what} in {where}; name a column of texts or of lists of token ids with "
            "--text-column."
        )
    ids = _whole(found, column.name, where)
    outside = (ids < 0) | (ids > LARGEST_ID)
    if outside.any():
        raise UserError(f"{column.name!r} has the token id {ids[outside][0]} in {where}; allowed are numbers from 0.")
    kept = _unpadded(_whole(row.get(MASK), MASK, where), len(ids), where) if column.masked else slice(None)
    return ids[kept].astype(np.int32)


def _whole(values: Any, name: str, where: str) -> NDArray[np.integer[Any]]:
    """The numbers in a list or an array of Arrow's. Raises UserError for anything but whole numbers."""
    if isinstance(values, pa.Array) and not values.null_count:
        return np.asarray(values.to_numpy(zero_copy_only=False))
    if not isinstance(values, list) or not set(map(type, values)) <= {int}:
        raise UserError(f"{name!r} is no list of whole numbers in {where}; write one number for each token.")
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise UserError(f"{name!r} has a number beyond 64 bits in {where}; token ids are far smaller.") from None


def _unpadded(mask: NDArray[np.integer[Any]], count: int, where: str) -> slice:
    """Which part of ``count`` ids is no padding. Raises UserError where that is no single part."""
    if len(mask) != count or not np.isin(mask, (0, 1)).all():
        raise UserError(f"{MASK!r} must have a 0 or 1 for each of the {count:,} token ids in {where}.")
    inside = np.flatnonzero(mask)
    if not len(inside):
        return slice(0, 0)
    if inside[-1] - inside[0] + 1 > len(inside):
        raise UserError(f"{MASK!r} has zeros between ones in {where}; it may leave out padding around a sequence only.")
    return slice(int(inside[0]), int(inside[-1]) + 1)
