"""Recorded activations: arrays and tables in memory, and files on disk or on S3, read in pieces.

A file or array is of one layer, or of several by name. Ids name the samples, so that two recordings of the same samples
in another order are paired rightly: an array "ids" in .npz, safetensors, zarr, .h5 and .pt, a column "ids" or the index
of the pandas frame in tables and Parquet, the coordinates of the first axis in xarray, and NAME.ids.npy beside
NAME.npy. Without ids samples are numbered as they stand.
"""

from __future__ import annotations

import mmap
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from raycv.data.contents import ONLY, Contents
from raycv.data.frames import contents_of_mapping, contents_of_table, is_table
from raycv.data.hdf5 import hdf5
from raycv.data.row_groups import parquet
from raycv.data.sample_ids import Ids, ids_of, is_text, lacking, order_like
from raycv.data.sparse import SparseRows, is_sparse
from raycv.data.stored_rows import StoredRows, npy, npz, safetensors
from raycv.data.torch_files import torch_file
from raycv.data.zarr_arrays import zarr
from raycv.errors import UserError
from raycv.run.filesystem import with_retries

OPENERS: dict[str, Callable[[str], Contents]] = {
    ".npy": npy,
    ".npz": npz,
    ".safetensors": safetensors,
    ".parquet": parquet,
    ".zarr": zarr,
    ".h5": hdf5,
    ".hdf5": hdf5,
    ".pt": torch_file,
    ".pth": torch_file,
}
COPIED_AT_ONCE = 2**24  # bytes, about


@dataclass(frozen=True)
class Recorded:
    """Activations of one network: ``layers``, arrays (n, S, ...) perhaps in a file, and ``ids`` (n,) if it has any.

    ``is_numbered``: the ids are no more than the numbers of the rows as they stand. ``unit_names``: of the layers whose
    units are columns with names, in the order of the units.
    """

    name: str
    layers: Mapping[str, Any]
    ids: Ids | None
    is_numbered: bool = False
    unit_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return int(next(iter(self.layers.values())).shape[0])

    def rows(self, layer: str, wanted: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Some samples of a layer, in memory, in the order asked for.

        Parquet and zarr are made to be read from front to back: samples far apart cost what lies between them. See
        ``in_any_order``.
        """
        values = self.layers[layer]
        if isinstance(values, np.memmap):
            found = np.array(values[wanted])
            _release(values)
            return found
        if isinstance(wanted, slice) or isinstance(values, np.ndarray | StoredRows | SparseRows):
            return np.asarray(values[wanted])
        if not len(wanted):
            return np.asarray(values[:0])
        first, last = int(wanted.min()), int(wanted.max()) + 1
        return np.asarray(values[first:last])[wanted - first]

    def in_any_order(self, folder: str) -> Recorded:
        """The same, to be read in any order: what is made to be read from front to back is copied into ``folder``."""
        layers = dict(self.layers)
        for layer, values in self.layers.items():
            if not isinstance(values, np.ndarray | StoredRows | SparseRows):
                layers[layer] = _copied(values, f"{folder}/{uuid4().hex}.npy")
        return replace(self, layers=layers)


def _copied(values: Any, path: str) -> StoredRows:
    first = np.asarray(values[:1])
    copy = np.lib.format.open_memmap(path, "w+", dtype=first.dtype, shape=tuple(values.shape))
    step = max(1, COPIED_AT_ONCE // first.nbytes)
    for start in range(0, len(copy), step):
        copy[start : start + step] = values[start : start + step]
        copy.flush()
        _release(copy)
    found: StoredRows = npy(path).layers[ONLY]
    return found


def _release(values: Any) -> None:
    """Let go of the pages of a mapped file that were read; they would stay in the process's memory until it is full."""
    mapping = values
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    if isinstance(mapping, mmap.mmap) and getattr(values, "mode", "") in ("r", "r+", "w+"):  # shared: nothing is lost
        mapping.madvise(mmap.MADV_DONTNEED)


def recorded(name: str, given: Any) -> Recorded:
    """The activations of network ``name``: an array (n, S, ...), a table, a mapping of layers to these, or a file.

    A table is a pandas frame or what turns into one, whose columns are the units. A file is a local path,
    ``file://path`` or ``s3://bucket/key``; Parquet may also be a folder of parts. A mapping may have the ids under
    "ids". Raises UserError for a file that is missing, of another kind or damaged, and for arrays that are not
    activations of the same samples.
    """
    if isinstance(given, Recorded):  # opened already
        return given
    if isinstance(given, str | os.PathLike):
        contents = _opened(name, _named(os.fspath(given)).rstrip("/"))
    elif is_table(given):
        contents = contents_of_table(name, given)
    elif isinstance(given, Mapping) and not is_sparse(given):
        contents = contents_of_mapping(name, given)
    else:
        contents = Contents({ONLY: given})
    arrays = _numbers(name, {str(layer): _array(name, layer, values) for layer, values in contents.layers.items()})
    if not arrays:
        raise UserError(
            f"The recording {name} holds no activations; it needs an array (samples, units) for each layer."
        )
    for layer, values in arrays.items():
        if len(values.shape) < 2 or not all(values.shape):
            raise UserError(
                f"The activations {layer!r} of {name} have shape {tuple(values.shape)}; they must be (samples, units) "
                "or (samples, units, ...), and not empty."
            )
    lengths = {layer: int(values.shape[0]) for layer, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        few, many = (pick(lengths, key=lengths.__getitem__) for pick in (min, max))
        raise UserError(
            f"The layers of {name} have different numbers of samples: {few!r} has {lengths[few]:,} and {many!r} "
            f"{lengths[many]:,}; record the same ones."
        )
    samples = next(iter(lengths.values()))
    ids = None if contents.ids is None else ids_of(name, _array(name, "ids", contents.ids), samples)
    return Recorded(name, arrays, ids, contents.is_numbered, contents.unit_names)


def _numbers(name: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Those that hold real numbers; others are left out with a warning. Raises UserError where all are others."""
    kinds = {layer: np.dtype(getattr(values, "dtype", float)) for layer, values in arrays.items()}
    others = [layer for layer, kind in kinds.items() if kind.kind not in "iuf"]
    if others and len(others) == len(arrays):
        raise UserError(
            f"The activations {others[0]!r} of {name} are of type {kinds[others[0]]}; they must be numbers."
        )
    for layer in others:
        warnings.warn(f"{layer!r} of {name} is left out: it is of type {kinds[layer]}, no numbers.", stacklevel=3)
    return {layer: values for layer, values in arrays.items() if layer not in others}


def _array(name: str, layer: str, values: Any) -> Any:
    """An array, or what is indexed like one; tensors and sparse matrices become such.

    Raises UserError for masks, and for what makes no array, as rows of different lengths.
    """
    try:
        return _as_array(name, layer, values)
    except UserError:
        raise
    except Exception as error:  # each library has errors of its own
        why = str(error).strip().split("\n")[0].rstrip(".!")
        raise UserError(
            f"The activations {layer!r} of {name} are {type(values).__name__}, of which no array can be made: {why}."
        ) from None


def _as_array(name: str, layer: str, values: Any) -> Any:
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        return (tensor.float() if tensor.dtype.is_floating_point and tensor.element_size() < 4 else tensor).numpy()
    if is_sparse(values):
        return SparseRows(values)
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise UserError(f"{layer!r} of {name} has masked values; every activation must be there.")
        return values.filled()
    found = values if hasattr(values, "shape") and hasattr(values, "dtype") else np.asarray(values)
    return np.asarray(found).astype(np.float32) if str(found.dtype) == "bfloat16" else found


def in_full(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Activations as float32, or float64 where they need it: those in double precision, and integers above 16 bits.

    Raises UserError for integers that float64 does not hold exactly.
    """
    kind = values.dtype
    if kind in (np.float32, np.float64):  # in this machine's order of bytes
        return values
    if kind.kind == "f":
        return values.astype(np.float32 if kind.itemsize <= 4 else np.float64)
    if kind.itemsize <= 2:
        return values.astype(np.float32)
    if kind.itemsize == 8 and values.size and max(int(values.max()), -int(values.min())) > 2**53:
        raise UserError(
            f"{name} holds integers beyond 2^53, which no floating-point number holds exactly; subtract a constant "
            "from each unit first."
        )
    return values.astype(np.float64)


def located(given: str | os.PathLike[str]) -> str:
    """The absolute path, or the URI on S3, of what a user names: with ``~``, with ``file://`` or relative."""
    named = _named(os.fspath(given))
    return named if "://" in named else os.path.abspath(named)


def _named(uri: str) -> str:
    """A path or a URI on S3, without ``file://`` and ``~``."""
    return url2pathname(urlsplit(uri).path) if uri.startswith("file://") else os.path.expanduser(uri)


def _opened(name: str, uri: str) -> Contents:
    kind = PurePosixPath(uri).suffix.lower()
    if not with_retries(uri, "look for", lambda fs, path: fs.exists(path)) and (kind in OPENERS or not kind):
        raise UserError(f"There is no file {uri}, given for {name}.")
    if kind not in OPENERS and with_retries(uri, "look for", lambda fs, path: fs.isdir(path)):
        kind = ".parquet"  # as Ray, Spark and Dask write it
    if kind not in OPENERS:
        raise UserError(f"{uri}, given for {name}, is of no known kind; allowed are {', '.join(OPENERS)}.")
    try:
        return OPENERS[kind](uri)
    except UserError:
        raise
    except Exception as error:  # each format has errors of its own
        why = str(error).rstrip(".")
        raise UserError(f"{uri}, given for {name}, cannot be read as {kind}: {why}.") from None


def paired(recordings: list[Recorded]) -> list[NDArray[np.int64] | None]:
    """For every recording the order in which its samples are those of the first; None where they already are.

    Raises UserError where a sample of one is missing in another, or only some of them have ids.
    """
    first, *others = recordings
    return [None, *(_order(first, other) for other in others)]


def _order(first: Recorded, other: Recorded) -> NDArray[np.int64] | None:
    """Which sample of ``other`` is each of ``first``; None where they stand in one order."""
    unnamed = [recording for recording in (first, other) if recording.ids is None]
    named = [recording for recording in (first, other) if recording.ids is not None and not recording.is_numbered]
    if unnamed and named:
        raise UserError(f"{named[0].name} has ids and {unnamed[0].name} has none; give ids to both, or to neither.")
    if first.ids is None or other.ids is None:
        if first.samples != other.samples:
            raise UserError(
                f"{first.name} has {first.samples:,} samples and {other.name} {other.samples:,}; record the same "
                "ones, or give ids."
            )
        return None
    if is_text(first.ids) != is_text(other.ids):
        text, numbers = (first, other) if is_text(first.ids) else (other, first)
        raise UserError(f"The ids of {text.name} are text and those of {numbers.name} numbers; give the same ones.")
    for has, lacks in ((first, other), (other, first)):
        missing = lacking(np.asarray(has.ids), np.asarray(lacks.ids))
        if missing:
            raise UserError(
                f"{lacks.name} lacks {len(missing):,} of the samples of {has.name}, the first being {missing[0]!r}; "
                "record the same samples."
            )
    order = order_like(first.ids, other.ids)
    return None if np.array_equal(order, np.arange(len(order))) else order
