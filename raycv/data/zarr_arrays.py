"""Recordings in zarr, on disk or on S3, read from front to back, where the package zarr is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.data.stored_rows import IDS, ONLY
from raycv.errors import UserError
from raycv.run.filesystem import filesystem, patiently


@dataclass(frozen=True)
class ZarrRows:
    """An array of a zarr store, whose chunks are read as they are needed."""

    uri: str
    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, units and what follows."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """The type of what is read."""
        return self.array.dtype

    def __getitem__(self, wanted: slice) -> NDArray[Any]:
        return patiently(self.uri, "read", lambda fs, path: np.asarray(self.array[wanted]))


def zarr(uri: str) -> dict[str, Any]:
    """The arrays of a zarr group by name, or the one array that the store is.

    Raises UserError where the package is not installed.
    """
    try:
        from zarr import open as open_zarr
    except ImportError:
        raise UserError(
            f"{uri} is a zarr store and the package zarr is not installed; install it, or raycv with the extra zarr."
        ) from None
    found: Any = patiently(
        uri, "read", lambda fs, path: open_zarr(uri if "://" in uri else filesystem(uri)[1], mode="r")
    )
    if hasattr(found, "shape"):
        return {ONLY: ZarrRows(uri, found)}
    arrays = {name: ZarrRows(uri, array) for name, array in found.arrays()}
    return {name: array[:] if name == IDS else array for name, array in arrays.items()}
