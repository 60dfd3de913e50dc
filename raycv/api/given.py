"""What is given to `raycv.compare` in other forms than it computes with, and what it says while data passes."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from raycv.api.batches import Batch
from raycv.data.recorded import Recorded
from raycv.errors import UserError
from raycv.progress import Progress

AT_ONCE = 64  # samples of data that is no batches
SILENT = 3.0  # seconds that data may still take without a word


def named(networks: Any) -> dict[str, Any]:
    """Networks by name: files of a sequence by their own, others by number. Raises UserError for two of one name."""
    if isinstance(networks, Mapping):
        return dict(networks)
    if not isinstance(networks, list | tuple):
        raise UserError(
            f'networks is a {type(networks).__name__}; name the networks, as in {{"a": one, "b": other}}, or give a '
            "list."
        )
    found: dict[str, Any] = {}
    for number, given in enumerate(networks, 1):
        name = PurePosixPath(os.fspath(given)).stem if isinstance(given, str | os.PathLike) else f"net{number}"
        if name in found:
            raise UserError(f'Two networks are named {name!r}; name them, as in {{"first": ..., "second": ...}}.')
        found[name] = given
    return found


def in_batches(data: Any) -> Any:
    """One tensor or array (n, ...) and a map-style Dataset as batches; all else as it is."""
    if isinstance(data, np.ndarray) and data.dtype != object:
        data = torch.from_numpy(np.ascontiguousarray(data))
    if isinstance(data, Tensor):
        if data.ndim < 2:
            raise UserError(f"data is one tensor of shape {tuple(data.shape)}; samples have axes of their own.")
        return torch.split(data, AT_ONCE)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=AT_ONCE)
    return data


def warn_of_transposed(files: Sequence[Recorded]) -> None:
    """Warn of recordings that have more units than samples, which may be the wrong way round."""
    for file in files:
        for layer, values in file.layers.items():
            samples, units, *positions = values.shape
            if units > samples and not positions:
                warnings.warn(
                    f"{file.name}/{layer} has {samples:,} samples of {units:,} units; if it is the other way round, "
                    "transpose it: the first axis counts samples.",
                    stacklevel=5,
                )


@contextmanager
def passing(samples: int | None, *, is_told: bool) -> Iterator[Callable[[Iterator[Batch]], Iterator[Batch]]]:
    """Gives a function that passes batches on, and says how many of ``samples`` have passed where that takes long."""
    with ExitStack() as stack:

        def told(batches: Iterator[Batch]) -> Iterator[Batch]:
            began, done, shown = time.monotonic(), 0, None
            for batch in batches:
                yield batch
                done += len(next(iter(batch.activations.values())))
                left = (time.monotonic() - began) * (max(samples or 0, done) / done - 1)
                if shown is None and is_told and samples and left > SILENT and done < samples:
                    shown = stack.enter_context(Progress("comparing", samples, "samples"))
                    shown.resume_at(done)
                elif shown is not None:
                    shown.update(done)

        yield told
