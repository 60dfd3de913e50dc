"""The names of samples: numbers or text, one for each, so that recordings in another order are paired rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.errors import UserError

Ids = NDArray[Any]


def ids_of(name: str, given: Any, samples: int) -> Ids:
    """The ids (n,) of recording ``name``: whole numbers as int64 where they fit, other numbers, or text.

    Raises UserError where they do not name ``samples`` samples one by one, or one is missing.
    """
    values = np.asarray(given)
    if values.shape != (samples,):
        raise UserError(f"The ids of {name} have shape {values.shape}, and it has {samples:,} samples; give one each.")
    ids = _plain(name, values)
    different = len(np.unique(ids))
    if different != samples:
        raise UserError(
            f"The ids of {name} do not name its {samples:,} samples one by one: {different:,} are different."
        )
    return ids


def _plain(name: str, values: Ids) -> Ids:
    if values.dtype.kind == "T":  # NumPy's text of any length
        values = values.astype(object)
    if values.dtype.kind in "Of":
        from pandas import isna  # takes a moment

        missing = np.flatnonzero(isna(values))
        if len(missing):
            raise UserError(f"The ids of {name} lack the one of row {missing[0]:,}; name every sample.")
    if values.dtype.kind == "O":
        values = _of_objects(name, values)
    if values.dtype.kind in "mM" and np.isnat(values).any():
        raise UserError(f"The ids of {name} lack the one of row {np.isnat(values).argmax():,}; name every sample.")
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    if values.dtype.kind == "f":
        whole = bool((np.abs(values) < 2**53).all() and (values == np.floor(values)).all())
        return values.astype(np.int64) if whole else values
    if values.dtype.kind in "iu":
        return values if values.dtype.kind == "u" and values.max() >= 2**63 else values.astype(np.int64)
    return values.astype(str)


def _of_objects(name: str, values: Ids) -> Ids:
    """Python objects as numbers or text. Raises UserError where they are of several kinds: 1 and "1" would be one."""
    items = [item.decode() if isinstance(item, bytes) else item for item in values.tolist()]
    kinds = {_kind(item): item for item in items}
    if len(kinds) > 1:
        raise UserError(f"The ids of {name} are of several kinds, {' and '.join(map(repr, kinds.values()))}; give one.")
    return np.array(items) if set(kinds) == {"number"} else np.array([str(item) for item in items])


def _kind(item: Any) -> str:
    is_number = isinstance(item, int | float | np.number) and not isinstance(item, bool)
    return "number" if is_number else type(item).__name__


def is_text(ids: Ids) -> bool:
    """Whether ids are text."""
    return ids.dtype.kind == "U"


def order_like(first: Ids, other: Ids) -> NDArray[np.int64]:
    """Which of ``other`` is each of ``first``; both hold the same ids."""
    return np.asarray(np.argsort(other)[np.argsort(np.argsort(first))])


def lacking(has: Ids, lacks: Ids) -> list[Any]:
    """The ids of one that another lacks, sorted."""
    if has.dtype != lacks.dtype and not is_text(has):  # NumPy would round them to make them of one type
        return sorted(set(has.tolist()) - set(lacks.tolist()))
    found: list[Any] = np.setdiff1d(has, lacks).tolist()
    return found
