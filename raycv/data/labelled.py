"""Arrays of a file that may name their axes and have coordinates, as xarray writes them to zarr and HDF5."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raycv.data.contents import IDS, Contents
from raycv.data.packing import unpacked
from raycv.errors import UserError

OF_UNITS = re.compile(r"(unit|neuron|neuroid|channel|feature|cell|voxel)s?", re.IGNORECASE)


@dataclass(frozen=True)
class NamedArray:
    """An array, the names of its axes (none where it does not name all) and what is said of it.

    ``rows``: as it is stored, indexed by samples. ``fill``: a stored value that means a missing one. ``values``: all.
    """

    rows: object
    axes: tuple[str, ...]
    attributes: Mapping[str, object]
    values: Callable[[], NDArray[np.generic]]
    fill: object = None


def contents_of_labelled(uri: str, arrays: Mapping[str, NamedArray], about: Mapping[str, object]) -> Contents:
    """The layers among ``arrays``; coordinates are none, those of the first axis are the ids. Packed ones are unpacked.

    ``about``: what is said of all. Raises UserError where the samples do not come first.
    """
    said = [about, *(array.attributes for array in arrays.values())]
    told = {name for attributes in said for name in str(attributes.get("coordinates", "")).split()}
    coordinates = {name for name, array in arrays.items() if name in told or array.axes == (name,)}
    layers = {name: array for name, array in arrays.items() if name != IDS and name not in coordinates}
    firsts = {array.axes[0] for array in layers.values() if array.axes}
    if len(firsts) > 1:
        raise UserError(
            f"The arrays of {uri} have different first axes, {', '.join(sorted(firsts))}; write them with the samples "
            "first."
        )
    for name, array in layers.items():
        check_samples_first(f"{name!r} of {uri}", array.axes)
    (first,) = firsts or {""}
    named = IDS if IDS in arrays else first
    ids = np.asarray(arrays[named].values()) if named in arrays else None
    is_numbered = ids is not None and named != IDS and ids.dtype.kind in "iu" and (ids == np.arange(len(ids))).all()
    unit_names = {
        name: tuple(map(str, arrays[array.axes[1]].values().tolist()))
        for name, array in layers.items()
        if len(array.axes) > 1 and array.axes[1] in coordinates
    }
    read = {name: unpacked(array.rows, array.attributes, array.fill) for name, array in layers.items()}
    return Contents(read, ids, bool(is_numbered), unit_names)


def check_samples_first(what: str, axes: Sequence[Hashable]) -> None:
    """Raise UserError where the name of the first axis says that it counts units, and another one does not."""
    is_of_units = [OF_UNITS.fullmatch(str(axis)) is not None for axis in axes]
    if is_of_units and is_of_units[0] and not all(is_of_units):
        raise UserError(
            f"{what[0].upper()}{what[1:]} has {str(axes[0])!r} for its first axis, and must have its samples there; "
            "transpose it."
        )


def warn_of_chunks(uri: str, name: str, absent: int, chunks: int, fill: object) -> None:
    """Say that some chunks of an array are not there, which libraries read as ``fill``."""
    warnings.warn(
        f"{absent:,} of the {chunks:,} chunks of {name!r} in {uri} are not there and are read as {fill}: chunks that "
        "hold nothing else need not be written, and cannot be told from lost ones.",
        stacklevel=2,
    )
