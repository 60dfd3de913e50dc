"""Arrays of a run's statistics as they must be: what is not so is refused, with the file and what to do."""

from __future__ import annotations

import numpy as np

from raycv.errors import UserError
from raycv.run.store import RunStore

Shapes = dict[str, tuple[int | None, ...]]  # of named arrays; None where any length will do


def read_checked(store: RunStore, path: str, shapes: Shapes) -> dict[str, np.ndarray]:
    """All arrays of a file, which must have those of ``shapes``."""
    return checked(store, path, store.read_arrays(path), shapes)


def checked(store: RunStore, path: str, arrays: dict[str, np.ndarray], shapes: Shapes) -> dict[str, np.ndarray]:
    """``arrays`` of a file. Raises UserError unless numbers of these ``shapes`` are among them."""
    for name, shape in shapes.items():
        found = arrays.get(name)
        if found is None or found.dtype.kind not in "biuf" or not _fits(found.shape, shape):
            raise damaged(store, path, f"it has no numbers {name!r} of the right shape")
    return arrays


def damaged(store: RunStore, path: str, why: str) -> UserError:
    """What to say of a file that is not what the pass has written."""
    return UserError(f"{store.locate(path)} is damaged: {why}; remove it and run `raycv collect` again.")


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(size in (None, of) for of, size in zip(found, shape, strict=True))
