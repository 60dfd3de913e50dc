"""Recordings in zarr, on disk or on S3, read from front to back, where the package zarr is installed.

Stores that xarray wrote are read as xarray reads them: coordinates are no layers, those of the first axis are the ids,
and packed values are unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.data.contents import ONLY, Contents
from raycv.data.labelled import NamedArray, check_samples_first, contents_of_labelled, warn_of_chunks
from raycv.data.natural import natural
from raycv.data.packing import unpacked
from raycv.errors import UserError
from raycv.run.filesystem import filesystem, with_retries


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
        return with_retries(self.uri, "read", lambda fs, path: np.asarray(self.array[wanted]))


def zarr(uri: str) -> Contents:
    """The arrays of a zarr group by name, in natural order, or the one array that the store is.

    Warns where chunks of an array are not there: zarr reads them as empty, whether they were lost or never written.
    Raises UserError where the package is not installed.
    """
    try:
        from zarr import open as open_zarr
    except ImportError:
        raise UserError(
            f"{uri} is a zarr store and the package zarr is not installed; install it, or raycv with the extra zarr."
        ) from None

    def read(_fs: Any, _path: str) -> Any:
        found = open_zarr(uri if "://" in uri else filesystem(uri)[1], mode="r")
        if hasattr(found, "shape"):
            return found, None
        return {name: item for name, item in found.members(max_depth=None) if hasattr(item, "shape")}, dict(found.attrs)

    found, about = with_retries(uri, "read", read)
    if about is None:
        alone = _labelled(uri, ONLY, found)
        check_samples_first(f"The array of {uri}", alone.axes)
        return Contents({ONLY: unpacked(alone.rows, alone.attributes, alone.fill)})
    return contents_of_labelled(uri, {name: _labelled(uri, name, found[name]) for name in natural(found)}, about)


def _axes(array: Any) -> tuple[str, ...]:
    """The names of an array's axes, as xarray gives them; none where there are none."""
    named = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None) or ()
    return tuple(named) if all(named) else ()


def _labelled(uri: str, name: str, array: Any) -> NamedArray:
    absent = array.nchunks - array.nchunks_initialized
    if absent:
        warn_of_chunks(uri, name, absent, array.nchunks, array.fill_value)
    is_of_xarray = "_ARRAY_DIMENSIONS" in array.attrs and array.metadata.zarr_format == 2
    fill = array.fill_value if is_of_xarray else None
    return NamedArray(ZarrRows(uri, array), _axes(array), array.attrs, lambda: np.asarray(array[:]), fill)
