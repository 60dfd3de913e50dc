"""Arrays that stand row after row in a file: .npy, .npz and safetensors, on disk or on S3, read in ranges of bytes.

A local file is read by ranges too, not mapped into memory, so that what was read does not stay there. What has no
rows in one piece, compressed arrays and those that stand column by column, is read whole (of a local .npy, mapped).
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Annotated, Any, TypeVar

import fsspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raycv.data.contents import IDS, ONLY, Contents
from raycv.data.natural import natural
from raycv.data.sparse import SparseRows, of_npz
from raycv.errors import UserError
from raycv.memory import available
from raycv.run.filesystem import check_file, filesystem, with_retries

T = TypeVar("T")
AHEAD = 2**16  # bytes that are read at once while a file is opened
LONGEST_HEADER = 100_000_000  # bytes, as the format limits it
SAFETENSORS = {  # the names of its types; BF16 is the upper half of a float32
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
}


@dataclass(frozen=True)
class StoredRows:
    """An array (n, ...) that begins at byte ``start`` of a file. It holds no open file, so it can be pickled.

    It is indexed by a slice or by row numbers, in any order; what is read is an array in memory.
    """

    uri: str
    start: int
    shape: tuple[int, ...]
    stored: str  # NumPy's name of the type in the file
    is_bfloat16: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of what is read."""
        return np.dtype(np.float32 if self.is_bfloat16 else self.stored)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in the file."""
        return math.prod(self.shape[1:]) * np.dtype(self.stored).itemsize

    def __getitem__(self, wanted: slice | NDArray[np.int64] | tuple[()]) -> NDArray[Any]:
        if isinstance(wanted, tuple):  # all of an array without axes
            return np.asarray(self._runs(np.array([0]), np.array([1]))[0])
        if isinstance(wanted, slice):
            first, last, _ = wanted.indices(self.shape[0])
            return self._runs(np.array([first]), np.array([last]))
        if not len(wanted):
            return self[:0]
        rows, back = np.unique(wanted, return_inverse=True)
        ends = np.flatnonzero(np.diff(rows, append=-1) != 1)  # of runs of neighbours
        return self._runs(rows[np.append(0, ends[:-1] + 1)], rows[ends] + 1)[back]

    def _runs(self, firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> NDArray[Any]:
        """The rows from each of ``firsts`` up to each of ``lasts``, one after the other."""
        count = int((lasts - firsts).sum())
        if not count:
            return np.empty((0, *self.shape[1:]), self.dtype)
        starts, ends = ((self.start + rows * self.row_bytes).tolist() for rows in (firsts, lasts))

        def read(fs: fsspec.AbstractFileSystem, path: str) -> list[bytes]:
            parts: list[Any] = fs.cat_ranges([path] * len(starts), starts, ends)  # on S3 many at a time
            for part in parts:
                if isinstance(part, BaseException):
                    raise part
            return parts

        whole = bytearray().join(with_retries(self.uri, "read", read))  # NumPy may write to it
        if len(whole) != count * self.row_bytes:
            raise UserError(f"{self.uri} has become shorter while it was read; write it again.")
        values = np.frombuffer(whole, self.stored).reshape(count, *self.shape[1:])
        return (values.astype(np.uint32) << 16).view(np.float32) if self.is_bfloat16 else values


def npy(uri: str) -> Contents:
    """The array of an .npy file, and the ids of NAME.ids.npy beside it."""
    beside = uri[: -len(".npy")] + ".ids.npy"
    array = _opened(uri, lambda file: _array(uri, file, 0))
    if not with_retries(beside, "look for", lambda fs, path: fs.exists(path)):
        return Contents({ONLY: array})
    return Contents({ONLY: array}, _opened(beside, lambda file: _array(beside, file, 0))[:])


def npz(uri: str) -> Contents:
    """The arrays of an .npz file; those that `numpy.savez_compressed` wrote are read whole, as is a sparse matrix.

    Raises UserError where these do not fit in memory.
    """

    def read(file: IO[bytes]) -> dict[str, Any]:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_apart(entries)
            packed = sum(entry.file_size for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
            _check_room(uri, packed, "save it with numpy.savez, without compression, which is read in pieces")
            return {entry.filename.removesuffix(".npy"): member(file, archive, entry) for entry in entries}

    def member(file: IO[bytes], archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
        if entry.compress_type != zipfile.ZIP_STORED:
            with archive.open(entry) as content:
                _check_length(0, entry.file_size, *_header(content))
            with archive.open(entry) as content:
                return np.lib.format.read_array(content, allow_pickle=False)
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        start = entry.header_offset + 30 + name + extra  # a local header has 30 bytes and these two fields
        file.seek(start)
        return _array(uri, file, start, start + entry.file_size)

    arrays = _opened(uri, read)
    matrix = of_npz(arrays) if "indptr" in arrays else None
    return with_ids(arrays) if matrix is None else Contents({ONLY: SparseRows(matrix)})


def _check_apart(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raise ValueError where two arrays of a file share bytes or a name."""
    placed = sorted((entry.header_offset, entry.header_offset + entry.compress_size) for entry in entries)
    if len({entry.filename for entry in entries}) < len(entries) or any(a[1] > b[0] for a, b in pairwise(placed)):
        raise ValueError("two of its arrays overlap")


def _check_room(uri: str, needed: int, remedy: str) -> None:
    """Raise UserError where this machine does not have so many bytes of memory to spare."""
    there = available()
    if needed > there:
        raise UserError(
            f"{uri} is read whole, would take {needed / 1e9:,.1f} GB of memory, and {there / 1e9:,.1f} GB are free; "
            f"{remedy}."
        )


def safetensors(uri: str) -> Contents:
    """The tensors of a safetensors file in the natural order of their names, as the format keeps no order.

    They follow one another from its header to its end, as the format says.
    """

    def read(file: IO[bytes]) -> dict[str, Any]:
        size = file.seek(0, 2)
        file.seek(0)
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(size - 8, LONGEST_HEADER):
            raise ValueError("its header does not end")
        header = json.loads(file.read(length), object_pairs_hook=_each_once)
        facts = {name: _described(name, of) for name, of in header.items() if name != "__metadata__"}
        start = 8 + length
        for name, of in sorted(facts.items(), key=lambda one: one[1].data_offsets):
            start = ends_after(name, of, start, 8 + length)
        if start != size:
            raise ValueError(f"its tensors end after {start:,} of {size:,} bytes")
        return {name: tensor(of, 8 + length) for name, of in facts.items()}

    def ends_after(name: str, of: _Tensor, start: int, zero: int) -> int:
        begin, end = of.data_offsets
        if zero + begin != start:
            raise ValueError(f"its tensor {name!r} does not begin where the one before it ends")
        if of.dtype not in SAFETENSORS:
            raise ValueError(f"its type {of.dtype} is none of {', '.join(SAFETENSORS)}")
        if end - begin != math.prod(of.shape) * np.dtype(SAFETENSORS[of.dtype]).itemsize:
            raise ValueError(f"its tensor {name!r} of shape {of.shape} has {end - begin:,} bytes")
        return zero + end

    def tensor(of: _Tensor, zero: int) -> StoredRows:
        return StoredRows(uri, zero + of.data_offsets[0], of.shape, SAFETENSORS[of.dtype], of.dtype == "BF16")

    tensors = _opened(uri, read)
    return with_ids({name: tensors[name] for name in natural(tensors)})


_Count = Annotated[int, Field(strict=True, ge=0)]


class _Tensor(BaseModel):
    """What the header of a safetensors file says of one tensor."""

    model_config = ConfigDict(extra="forbid")

    dtype: str
    shape: tuple[_Count, ...]
    data_offsets: tuple[_Count, _Count]


def _described(name: str, facts: Any) -> _Tensor:
    try:
        return _Tensor.model_validate(facts)
    except ValidationError:
        raise ValueError(f"its header does not describe the tensor {name!r}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header says something twice")
    return found


def _opened(uri: str, read: Callable[[IO[bytes]], T]) -> T:
    def action(fs: fsspec.AbstractFileSystem, path: str) -> T:
        check_file(fs, path)
        with fs.open(path, "rb", block_size=AHEAD) as file:
            return read(file)

    return with_retries(uri, "read", action)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether it stands column by column, type and bytes of what is before an array in NumPy's format."""
    start = file.tell()
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"it is of version {version} of NumPy's format")
    shape, columns_first, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save numbers, and ids as ids.astype(str)")
    if any(length < 0 for length in shape):
        raise ValueError(f"it has the shape {shape}")
    return shape, columns_first, dtype, file.tell() - start


def _array(uri: str, file: IO[bytes], start: int, end: int | None = None) -> Any:
    """The array in NumPy's format from byte ``start`` to ``end`` of an open file, which is at ``start``."""
    shape, columns_first, dtype, before = header = _header(file)
    _check_length(start, file.seek(0, 2) if end is None else end, *header)
    if not columns_first or len(shape) < 2:
        return StoredRows(uri, start + before, shape, dtype.str)
    if "://" not in uri and not start:  # column by column, as pandas often has it
        return np.load(filesystem(uri)[1], mmap_mode="r", allow_pickle=False)
    _check_room(uri, math.prod(shape) * dtype.itemsize, "save it row by row, as numpy.ascontiguousarray gives it")
    file.seek(start)
    return np.lib.format.read_array(file, allow_pickle=False)


def _check_length(
    start: int, end: int, shape: tuple[int, ...], _columns_first: bool, dtype: np.dtype[Any], before: int
) -> None:
    """Raise ValueError for an array that is longer than the bytes from ``start`` to ``end``."""
    needed = before + math.prod(shape) * dtype.itemsize
    if needed > end - start:
        raise ValueError(f"it ends after {end - start:,} of {needed:,} bytes")


def with_ids(arrays: dict[str, Any]) -> Contents:
    """Arrays by name, of which one may be the ids."""
    ids = arrays.get(IDS)
    layers = {name: values for name, values in arrays.items() if name != IDS}
    return Contents(layers, None if ids is None else ids[:])
