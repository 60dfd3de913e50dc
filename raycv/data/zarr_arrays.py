"""Recordings in zarr, on disk or on S3, read from front to back, where the package zarr is installed.

Stores that xarray wrote are read as xarray reads them: coordinates are no layers, those of the first axis are the ids,
and packed values are unpacked.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.data.contents import IDS, ONLY, Contents
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
        return Contents({ONLY: _rows(uri, ONLY, found)})
    return _of_group(uri, {name: found[name] for name in natural(found)}, about)


def _of_group(uri: str, arrays: dict[str, Any], about: Mapping[str, Any]) -> Contents:
    axes = {name: _axes(array) for name, array in arrays.items()}
    said = [about, *(array.attrs for array in arrays.values())]
    told = {name for attributes in said for name in str(attributes.get("coordinates", "")).split()}
    coordinates = {name for name in arrays if name in told or axes[name] == (name,)}
    layers = {n: _rows(uri, n, array) for n, array in arrays.items() if n != IDS and n not in coordinates}
    firsts = {axes[name][0] for name in layers if axes[name]}
    if len(firsts) > 1:
        raise UserError(
            f"The arrays of {uri} have different first axes, {', '.join(sorted(firsts))}; write them with the samples "
            "first."
        )
    (first,) = firsts or {""}
    named = IDS if IDS in arrays else first
    ids = np.asarray(arrays[named][:]) if named in arrays else None
    is_numbered = ids is not None and named != IDS and ids.dtype.kind in "iu" and (ids == np.arange(len(ids))).all()
    unit_names = {
        name: tuple(map(str, arrays[axes[name][1]][:].tolist()))
        for name in layers
        if len(axes[name]) > 1 and axes[name][1] in coordinates
    }
    return Contents(layers, ids, bool(is_numbered), unit_names)


def _axes(array: Any) -> tuple[str, ...]:
    """The names of an array's axes, as xarray gives them; none where there are none."""
    named = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None) or ()
    return tuple(named) if all(named) else ()


def _rows(uri: str, name: str, array: Any) -> Any:
    absent = array.nchunks - array.nchunks_initialized
    if absent:
        warnings.warn(
            f"{absent:,} of the {array.nchunks:,} chunks of {name!r} in {uri} are not there and are read as "
            f"{array.fill_value}: zarr does not write chunks that hold nothing else, and does not tell them from lost "
            "ones.",
            stacklevel=2,
        )
    is_of_xarray = "_ARRAY_DIMENSIONS" in array.attrs and array.metadata.zarr_format == 2
    return unpacked(ZarrRows(uri, array), array.attrs, array.fill_value if is_of_xarray else None)
