"""Recordings in HDF5, on disk or on S3, read in pieces, where the package h5py is installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.data.contents import Contents
from raycv.data.natural import natural
from raycv.data.stored_rows import with_ids
from raycv.errors import UserError
from raycv.run.filesystem import check_file, with_retries


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
    """The data sets of a file by their paths in it, in natural order. Raises UserError where h5py is not installed."""
    h5py = _h5py(uri)
    arrays: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            text = h5py.check_string_dtype(item.dtype) is not None
            arrays[name] = item.asstr()[:] if text else Hdf5Rows(uri, name, tuple(item.shape), item.dtype)

    def read(fs: Any, path: str) -> None:
        check_file(fs, path)
        arrays.clear()
        with fs.open(path, "rb") as content, h5py.File(content, "r") as file:
            file.visititems(note)

    with_retries(uri, "read", read)
    return with_ids({name: arrays[name] for name in natural(arrays)})


def _h5py(uri: str) -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{uri} is HDF5 and the package h5py is not installed; install it, or raycv with the extra hdf5."
        ) from None
    return h5py
