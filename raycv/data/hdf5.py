"""Recordings in HDF5, on disk or on S3, read in pieces, where the package h5py is installed.

Files that xarray and netCDF wrote are read as these read them: dimension scales are no layers, those of the first axis
are the ids, and packed values are unpacked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.data.contents import Contents
from raycv.data.labelled import NamedArray, contents_of_labelled, warn_of_chunks
from raycv.data.natural import natural
from raycv.errors import UserError
from raycv.run.filesystem import check_file, with_retries

LENGTH_ALONE = b"This is a netCDF dimension but not a netCDF variable"  # netCDF's own words for an axis without values


@dataclass
class Hdf5Rows:
    """A data set of an HDF5 file. It is opened when it is first read, so it can be pickled."""

    uri: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _open: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def __getitem__(self, wanted: slice) -> NDArray[Any]:
        def read(fs: Any, path: str) -> NDArray[Any]:
            if self._open is None:
                self._open = _h5py(self.uri).File(fs.open(path, "rb"), "r")
            return np.asarray(self._open[self.name][wanted])

        return with_retries(self.uri, "read", read)


def hdf5(uri: str) -> Contents:
    """The data sets of a file by their paths in it, in natural order.

    Warns where chunks of one are not there. Raises UserError where h5py is not installed, for data sets that are made
    of other files, and for those of MATLAB, whose axes stand the other way round.
    """
    h5py = _h5py(uri)
    arrays: dict[str, NamedArray] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not _is_length_alone(item):
            arrays[name] = _labelled(uri, name, item, h5py.check_string_dtype(item.dtype) is not None)

    def read(fs: Any, path: str) -> dict[str, Any]:
        check_file(fs, path)
        arrays.clear()
        with fs.open(path, "rb") as content, h5py.File(content, "r") as file:
            file.visititems(note)
            return dict(file.attrs)

    about = with_retries(uri, "read", read)
    return contents_of_labelled(uri, {name: arrays[name] for name in natural(arrays)}, about)


def _labelled(uri: str, name: str, item: Any, is_text: bool) -> NamedArray:
    """One data set of an open file."""
    if item.is_virtual or item.external:
        raise UserError(f"{name!r} of {uri} is made of other files, which may be missing; write its values into it.")
    if "MATLAB_class" in item.attrs and item.ndim > 1:
        raise UserError(
            f"{name!r} of {uri} was written by MATLAB, which stores axes in reverse order, and is {item.shape} here; "
            "write it with h5py, samples first."
        )
    if item.chunks:
        chunks = math.prod(-(-size // of) for size, of in zip(item.shape, item.chunks, strict=True))
        absent = chunks - item.id.get_num_chunks()
        if absent:
            warn_of_chunks(uri, name, absent, chunks, item.fillvalue)
    rows = item.asstr()[:] if is_text else Hdf5Rows(uri, name, tuple(item.shape), item.dtype)
    axes = tuple(_axis(axis) for axis in item.dims)
    is_scale = item.attrs.get("CLASS") == b"DIMENSION_SCALE"
    named = (item.name.rpartition("/")[2],) if is_scale else axes if all(axes) else ()
    return NamedArray(rows, named, dict(item.attrs), lambda: np.asarray(rows[:]))


def _is_length_alone(item: Any) -> bool:
    """Whether this stands for an axis of which netCDF says no more than how long it is."""
    name = item.attrs.get("NAME", b"")
    return (name if isinstance(name, bytes) else str(name).encode()).startswith(LENGTH_ALONE)


def _axis(axis: Any) -> str:
    """The name of an axis: of the scale that is attached to it, or its label."""
    return str(axis[0].name).rpartition("/")[2] if len(axis) else str(axis.label)


def _h5py(uri: str) -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{uri} is HDF5 and the package h5py is not installed; install it, or raycv with the extra hdf5."
        ) from None
    return h5py
