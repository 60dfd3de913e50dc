"""Recorded activations: arrays in memory, .npy, .npz, safetensors and Parquet files, read in pieces where they can be.

A file or array is of one layer, or of several by name. Ids name the samples, so that two recordings of the same samples
in another order are paired rightly: an array "ids" in .npz and safetensors, a column "ids" in Parquet, and NAME.ids.npy
beside NAME.npy. Without ids samples are numbered as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.errors import UserError

IDS = "ids"
ONLY = "activations"  # the name of the layer where a recording has one, and no name for it
KINDS = (".npy", ".npz", ".safetensors", ".parquet")


@dataclass(frozen=True)
class Recorded:
    """Activations of one network: ``layers``, arrays (n, S, ...) perhaps on disk, and ``ids`` (n,) if it has any."""

    name: str
    layers: Mapping[str, Any]
    ids: NDArray[Any] | None

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return int(next(iter(self.layers.values())).shape[0])

    def rows(self, layer: str, wanted: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Some samples of a layer, in memory."""
        values = self.layers[layer]
        if isinstance(wanted, slice) or isinstance(values, np.ndarray):
            return np.asarray(values[wanted])
        first, last = int(wanted.min()), int(wanted.max()) + 1  # a file that gives ranges alone
        return np.asarray(values[first:last])[wanted - first]


def recorded(name: str, given: Any) -> Recorded:
    """The activations of network ``name``: an array (n, S, ...), a mapping of layers to such arrays, or a file's path.

    A mapping may have the ids under "ids". Raises UserError for a file that is missing, of another kind or damaged, and
    for arrays that are not activations of the same samples.
    """
    if isinstance(given, str | Path):
        arrays = _opened(name, Path(given))
    else:
        arrays = dict(given) if isinstance(given, Mapping) else {ONLY: given}
    arrays = {layer: values if hasattr(values, "shape") else np.asarray(values) for layer, values in arrays.items()}
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
    lengths = {layer: values.shape[0] for layer, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"The layers of {name} have different numbers of samples: {lengths}; record the same ones.")
    found = Recorded(name, arrays, None if ids is None else np.asarray(ids))
    if found.ids is not None and (found.ids.shape != (found.samples,) or len(np.unique(found.ids)) != found.samples):
        raise UserError(
            f"The ids of {name} do not name its {found.samples:,} samples one by one: their shape is {found.ids.shape} "
            f"and {len(np.unique(found.ids)):,} are different."
        )
    return found


def _opened(name: str, path: Path) -> dict[str, Any]:
    if path.suffix not in KINDS:
        raise UserError(f"{path}, given for {name}, is of no known kind; allowed are {', '.join(KINDS)}.")
    if not path.is_file():
        raise UserError(f"There is no file {path}, given for {name}.")
    try:
        return {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors, ".parquet": _parquet}[path.suffix](path)
    except UserError:
        raise
    except Exception as error:  # each format has errors of its own
        raise UserError(f"{path}, given for {name}, cannot be read as {path.suffix}: {error}.") from None


def _npy(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".ids.npy")
    arrays: dict[str, Any] = {ONLY: np.load(path, mmap_mode="r", allow_pickle=False)}
    return arrays | ({IDS: np.load(beside, allow_pickle=False)} if beside.is_file() else {})


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


class _Slices:
    """One tensor of a safetensors file, read by ranges."""

    def __init__(self, path: Path, name: str) -> None:
        from safetensors import safe_open

        opened: Any = safe_open(str(path), framework="pt")
        self._part = opened.get_slice(name)
        self.shape = tuple(self._part.get_shape())

    def __getitem__(self, wanted: slice) -> NDArray[Any]:
        tensor = self._part[wanted]  # by PyTorch, as NumPy has no bfloat16
        return np.asarray(tensor if tensor.element_size() > 2 else tensor.float())


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    opened: Any = safe_open(str(path), framework="pt")
    names = list(opened.keys())
    return {name: _Slices(path, name)[:] if name == IDS else _Slices(path, name) for name in names}


def _parquet(path: Path) -> dict[str, Any]:
    """A column of lists is a layer; columns of numbers are together the units of one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    arrays: dict[str, Any] = {}
    numbers: list[NDArray[Any]] = []
    for field in table.schema:
        column = table[field.name].combine_chunks()
        if field.name == IDS:
            arrays[IDS] = np.asarray(column.to_numpy(zero_copy_only=False))
        elif pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type):
            arrays[field.name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        elif pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
            numbers.append(column.to_numpy(zero_copy_only=False))
        else:
            raise UserError(
                f"{path} has a column {field.name!r} of {field.type}; a layer is a column of lists of numbers."
            )
    return arrays | ({ONLY: np.stack(numbers, axis=1)} if numbers else {})


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
        _same_ids(first, other)
        order = np.argsort(other.ids)[np.argsort(np.argsort(first.ids))]
        orders.append(None if np.array_equal(order, np.arange(len(order))) else order)
    return orders


def _same_ids(first: Recorded, other: Recorded) -> None:
    for has, lacks in ((first, other), (other, first)):
        missing = np.setdiff1d(np.asarray(has.ids), np.asarray(lacks.ids))
        if len(missing):
            raise UserError(
                f"{lacks.name} lacks {len(missing):,} of the samples of {has.name}, the first being {missing[0]!r}; "
                "record the same samples."
            )
