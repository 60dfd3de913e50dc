"""Arrays that stand row after row in a file: .npy, .npz and safetensors, on disk or on S3, read in ranges of bytes.

A local file is read by ranges too, not mapped into memory, so that what was read does not stay there. What has no
rows in one piece, compressed arrays and those that stand column by column, is read whole (of a local .npy, mapped).
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import fsspec
import numpy as np
from numpy.typing import NDArray

from raycv.data.contents import IDS, ONLY, Contents
from raycv.data.natural import natural
from raycv.data.sparse import SparseRows, of_npz
from raycv.errors import UserError
from raycv.run.filesystem import check_file, filesystem, patiently

T = TypeVar("T")
AHEAD = 2**16  # bytes that are read at once while a file is opened
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

        whole = bytearray().join(patiently(self.uri, "read", read))  # NumPy may write to it
        if len(whole) != count * self.row_bytes:
            raise UserError(f"{self.uri} has become shorter while it was read; write it again.")
        values = np.frombuffer(whole, self.stored).reshape(count, *self.shape[1:])
        return (values.astype(np.uint32) << 16).view(np.float32) if self.is_bfloat16 else values


def npy(uri: str) -> Contents:
    """The array of an .npy file, and the ids of NAME.ids.npy beside it."""
    beside = uri[: -len(".npy")] + ".ids.npy"
    array = _opened(uri, lambda file: _array(uri, file, 0))
    if not patiently(beside, "look for", lambda fs, path: fs.exists(path)):
        return Contents({ONLY: array})
    return Contents({ONLY: array}, _opened(beside, lambda file: _array(beside, file, 0))[:])


def npz(uri: str) -> Contents:
    """The arrays of an .npz file; those that `numpy.savez_compressed` wrote are read whole, as is a sparse matrix."""

    def read(file: IO[bytes]) -> dict[str, Any]:
        with zipfile.ZipFile(file) as archive:
            return {entry.filename.removesuffix(".npy"): member(file, archive, entry) for entry in archive.infolist()}

    def member(file: IO[bytes], archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
        if entry.compress_type != zipfile.ZIP_STORED:
            with archive.open(entry) as content:
                return np.lib.format.read_array(content, allow_pickle=False)
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        start = entry.header_offset + 30 + name + extra  # a local header has 30 bytes and these two fields
        file.seek(start)
        return _array(uri, file, start)

    arrays = _opened(uri, read)
    matrix = of_npz(arrays) if "indptr" in arrays else None
    return with_ids(arrays) if matrix is None else Contents({ONLY: SparseRows(matrix)})


def safetensors(uri: str) -> Contents:
    """The tensors of a safetensors file, which keeps no order of them, in the natural order of their names."""

    def read(file: IO[bytes]) -> dict[str, Any]:
        size = file.seek(0, 2)
        file.seek(0)
        (length,) = struct.unpack("<Q", file.read(8))
        if length > size - 8:
            raise ValueError("its header does not end")
        header = json.loads(file.read(length))
        return {name: tensor(8 + length, size, **facts) for name, facts in header.items() if name != "__metadata__"}

    def tensor(start: int, size: int, dtype: str, shape: list[int], data_offsets: list[int]) -> StoredRows:
        if dtype not in SAFETENSORS:
            raise ValueError(f"its type {dtype} is none of {', '.join(SAFETENSORS)}")
        found = StoredRows(uri, start + data_offsets[0], tuple(shape), SAFETENSORS[dtype], dtype == "BF16")
        return _checked(found, size)

    tensors = _opened(uri, read)
    return with_ids({name: tensors[name] for name in natural(tensors)})


def _opened(uri: str, read: Callable[[IO[bytes]], T]) -> T:
    def action(fs: fsspec.AbstractFileSystem, path: str) -> T:
        check_file(fs, path)
        with fs.open(path, "rb", block_size=AHEAD) as file:
            return read(file)

    return patiently(uri, "read", action)


def _array(uri: str, file: IO[bytes], start: int) -> Any:
    """The array in NumPy's format that begins at byte ``start`` of an open file; its header is read from there on."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"it is of version {version} of NumPy's format")
    shape, columns_first, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save numbers, and ids as ids.astype(str)")
    found = StoredRows(uri, file.tell(), shape, dtype.str)
    if not columns_first or len(shape) < 2:
        return _checked(found, file.seek(0, 2))
    if "://" not in uri and not start:  # column by column, as pandas often has it
        return np.load(filesystem(uri)[1], mmap_mode="r", allow_pickle=False)
    file.seek(start)
    return np.lib.format.read_array(file, allow_pickle=False)


def _checked(found: StoredRows, size: int) -> StoredRows:
    needed = found.start + found.row_bytes * (found.shape[0] if found.shape else 1)
    if needed > size:
        raise ValueError(f"it ends after {size:,} of {needed:,} bytes")
    return found


def with_ids(arrays: dict[str, Any]) -> Contents:
    """Arrays by name, of which one may be the ids."""
    ids = arrays.get(IDS)
    layers = {name: values for name, values in arrays.items() if name != IDS}
    return Contents(layers, None if ids is None else ids[:])
