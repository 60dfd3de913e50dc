"""A batch of activations as tables: of one number of samples and positions, finite, and in which folds they are."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from raycv.analysis.splitmix import GOLDEN, mixed
from raycv.data.recorded import in_full
from raycv.statistics.folding import FOLDS

LARGEST = 1e150  # of activations in float64
Tables = dict[str, torch.Tensor]  # by member (n, positions, S)


def tables_of(activations: Mapping[str, Any]) -> tuple[Tables, int, int]:
    """Activations (n, S, ...) of every member as tables, and how many samples and positions they have.

    Raises ValueError where these differ, and for what are no activations.
    """
    tables = {name: _samples(name, values) for name, values in activations.items()}
    count = _same(tables, "samples")
    return tables, count, _same({name: values[0] for name, values in tables.items() if len(values)}, "positions")


def check_members(tables: Tables, expected: Mapping[str, int]) -> None:
    """Raise ValueError where the members, with their units, are not those ``expected``, if any are."""
    found = {name: table.shape[2] for name, table in tables.items()}
    if expected and list(found.items()) != list(expected.items()):
        raise ValueError(f"these moments are of {named(expected)}, found {named(found)}")


def named(widths: Mapping[str, int]) -> str:
    """Members with their units, in words."""
    return ", ".join(f"{name} ({width} units)" for name, width in widths.items())


def check_numbers(tables: Tables, before: int) -> None:
    """Raise ValueError for numbers that are not finite or have no squares; ``before``: samples that came earlier."""
    for name, table in tables.items():
        lowest, highest = torch.aminmax(table)
        if not torch.isfinite(lowest) or not torch.isfinite(highest):
            bad = int((~torch.isfinite(table)).flatten(1).any(1).nonzero()[0, 0])
            sample = before // table.shape[1] + bad
            raise ValueError(f"the activations of {name!r} are not all finite numbers, first in sample {sample:,}")
        largest = max(float(highest), -float(lowest))
        if largest > LARGEST:
            raise ValueError(
                f"the activations of {name!r} go up to {largest:.0e}, and numbers above {LARGEST:.0e} have no "
                "squares; divide them by a constant"
            )


def _samples(name: str, values: Any) -> torch.Tensor:
    """Activations (n, S, ...) as (n, positions, S), float64 where they need it and float32 otherwise."""
    if isinstance(values, torch.Tensor):
        tensor = values.detach().cpu()
        tensor = tensor.double() if tensor.dtype in (torch.int32, torch.int64) else tensor
    else:
        array = np.ascontiguousarray(values)
        tensor = torch.as_tensor(in_full(repr(name), array) if array.dtype.kind in "iuf" else array)
    if tensor.ndim < 2:
        raise ValueError(f"activations have shape (samples, units, ...), {name!r} has {tuple(tensor.shape)}")
    if tensor.is_complex() or (not tensor.dtype.is_floating_point and tensor.dtype == torch.bool):
        raise ValueError(f"activations are real numbers, {name!r} has {tensor.dtype}")
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    return tensor.reshape(*tensor.shape[:2], math.prod(tensor.shape[2:])).transpose(1, 2)


def _same(tables: dict[str, torch.Tensor], what: str) -> int:
    """The common length of the first axes. Raises ValueError where they differ."""
    lengths = {name: len(table) for name, table in tables.items()}
    if not tables:
        if what == "samples":
            raise ValueError("there are no activations; give those of one member or more by name")
        return 0
    if len(set(lengths.values())) > 1:
        few, many = (pick(lengths, key=lengths.__getitem__) for pick in (min, max))
        raise ValueError(
            f"all members must have the same {what}; {few!r} has {lengths[few]:,} and {many!r} {lengths[many]:,}"
        )
    return next(iter(lengths.values()))


def fold_of_each(ids: ArrayLike | range | None, count: int, before: int) -> np.ndarray:
    """(n,): the fold of each sample, one of eight, by a hash of its id; ``before``: how many samples came earlier."""
    names = np.arange(before, before + count) if ids is None else np.asarray(ids)
    if names.shape != (count,):
        raise ValueError(f"there are {count:,} samples and ids of shape {names.shape}; give one id for each sample")
    if names.dtype.kind not in "iu":
        names = np.array([zlib.crc32(str(name).encode()) for name in names], dtype=np.uint64)
    return np.asarray(mixed(names.astype(np.uint64) * GOLDEN) % np.uint64(FOLDS)).astype(np.int64)


def pilot_of(table: torch.Tensor) -> np.ndarray:
    """(S,): the means of (n, positions, S), representable in float32 where the table is; of constants themselves."""
    lowest, highest = table.amin((0, 1)), table.amax((0, 1))
    means = torch.where(lowest == highest, lowest.double(), (table.double() / table[..., 0].numel()).sum((0, 1)))
    return (means if table.dtype == torch.float64 else means.float().double()).numpy()
