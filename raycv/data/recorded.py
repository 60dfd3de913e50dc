"""Recorded activations: arrays in memory, and files on disk or on S3, read in pieces.

A file or array is of one layer, or of several by name: .npy, .npz, .safetensors, .parquet and .zarr. Ids name the
samples, so that two recordings of the same samples in another order are paired rightly: an array "ids" in .npz,
safetensors and zarr, a column "ids" or the index of the pandas frame in Parquet, and NAME.ids.npy beside NAME.npy.
Without ids samples are numbered as they stand.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from raycv.data.row_groups import parquet
from raycv.data.stored_rows import IDS, ONLY, StoredRows, npy, npz, safetensors
from raycv.data.zarr_arrays import zarr
from raycv.errors import UserError
from raycv.run.filesystem import patiently

OPENERS: dict[str, Callable[[str], dict[str, Any]]] = {
    ".npy": npy,
    ".npz": npz,
    ".safetensors": safetensors,
    ".parquet": parquet,
    ".zarr": zarr,
}
COPIED_AT_ONCE = 2**24  # bytes, about


@dataclass(frozen=True)
class Recorded:
    """Activations of one network: ``layers``, arrays (n, S, ...) perhaps in a file, and ``ids`` (n,) if it has any."""

    name: str
    layers: Mapping[str, Any]
    ids: NDArray[Any] | None

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
        if isinstance(wanted, slice) or isinstance(values, np.ndarray | StoredRows):
            return np.asarray(values[wanted])
        if not len(wanted):
            return np.asarray(values[:0])
        first, last = int(wanted.min()), int(wanted.max()) + 1
        return np.asarray(values[first:last])[wanted - first]

    def in_any_order(self, folder: str) -> Recorded:
        """The same, to be read in any order: what is made to be read from front to back is copied into ``folder``."""
        layers = dict(self.layers)
        for layer, values in self.layers.items():
            if not isinstance(values, np.ndarray | StoredRows):
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
    found: StoredRows = npy(path)[ONLY]
    return found


def _release(values: Any) -> None:
    """Let go of the pages of a mapped file that were read; they would stay in the process's memory until it is full."""
    mapping = values
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    if isinstance(mapping, mmap.mmap) and getattr(values, "mode", "") in ("r", "r+", "w+"):  # shared: nothing is lost
        mapping.madvise(mmap.MADV_DONTNEED)


def recorded(name: str, given: Any) -> Recorded:
    """The activations of network ``name``: an array (n, S, ...), a mapping of layers to such arrays, or a file.

    A file is a local path or ``s3://bucket/key``. A mapping may have the ids under "ids". Raises UserError for a file
    that is missing, of another kind or damaged, and for arrays that are not activations of the same samples.
    """
    if isinstance(given, str | Path):
        arrays = _opened(name, str(given))
    else:
        arrays = dict(given) if isinstance(given, Mapping) else {ONLY: given}
    arrays = {str(layer): _array(values) for layer, values in arrays.items()}
    ids = arrays.pop(IDS, None)
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
        if np.dtype(getattr(values, "dtype", float)).kind not in "iuf":
            raise UserError(f"The activations {layer!r} of {name} are of type {values.dtype}; they must be numbers.")
    lengths = {layer: int(values.shape[0]) for layer, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        few, many = (pick(lengths, key=lengths.__getitem__) for pick in (min, max))
        raise UserError(
            f"The layers of {name} have different numbers of samples: {few!r} has {lengths[few]:,} and {many!r} "
            f"{lengths[many]:,}; record the same ones."
        )
    found = Recorded(name, arrays, None if ids is None else _ids(ids))
    if found.ids is not None and (found.ids.shape != (found.samples,) or len(np.unique(found.ids)) != found.samples):
        raise UserError(
            f"The ids of {name} do not name its {found.samples:,} samples one by one: their shape is {found.ids.shape} "
            f"and {len(np.unique(found.ids)):,} are different."
        )
    return found


def _ids(given: Any) -> NDArray[Any]:
    ids = np.asarray(_array(given))
    return ids if ids.dtype.kind in "iuf" else ids.astype(str)


def _array(values: Any) -> Any:
    """An array, or what is indexed like one; tensors become arrays."""
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        return (tensor.float() if tensor.dtype.is_floating_point and tensor.element_size() < 4 else tensor).numpy()
    return values if hasattr(values, "shape") else np.asarray(values)


def _opened(name: str, uri: str) -> dict[str, Any]:
    kind = PurePosixPath(uri).suffix
    if kind not in OPENERS:
        raise UserError(f"{uri}, given for {name}, is of no known kind; allowed are {', '.join(OPENERS)}.")

    if not patiently(uri, "look for", lambda fs, path: fs.exists(path)):
        raise UserError(f"There is no file {uri}, given for {name}.")
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
    orders: list[NDArray[np.int64] | None] = [None]
    for other in others:
        if (first.ids is None) != (other.ids is None):
            with_ids, without = (first, other) if other.ids is None else (other, first)
            raise UserError(f"{with_ids.name} has ids and {without.name} has none; give ids to both, or to neither.")
        if first.ids is None or other.ids is None:
            if first.samples != other.samples:
                raise UserError(
                    f"{first.name} has {first.samples:,} samples and {other.name} {other.samples:,}; record the same "
                    "ones, or give ids."
                )
            orders.append(None)
            continue
        if (first.ids.dtype.kind == "U") != (other.ids.dtype.kind == "U"):
            text, numbers = (first, other) if first.ids.dtype.kind == "U" else (other, first)
            raise UserError(f"The ids of {text.name} are text and those of {numbers.name} numbers; give the same ones.")
        _same_ids(first, other)
        order = np.argsort(other.ids)[np.argsort(np.argsort(first.ids))]
        orders.append(None if np.array_equal(order, np.arange(len(order))) else order)
    return orders


def _same_ids(first: Recorded, other: Recorded) -> None:
    for has, lacks in ((first, other), (other, first)):
        missing = np.setdiff1d(np.asarray(has.ids), np.asarray(lacks.ids))
        if len(missing):
            raise UserError(
                f"{lacks.name} lacks {len(missing):,} of the samples of {has.name}, the first being "
                f"{missing.tolist()[0]!r}; record the same samples."
            )
