"""The activations of all networks in the same samples, batch by batch."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from raycv.comparing.calling import as_tensors
from raycv.comparing.forward import Forward, chosen
from raycv.comparing.members import Member
from raycv.data.recorded import Recorded, paired
from raycv.errors import UserError
from raycv.networks.layouts import images_in
from raycv.networks.tokens import Part, Prefix, taken

ROWS = 4096  # of recorded activations read at once, where they are not large
ENTRIES = 2**25  # of all layers, read at once
Patterns = Mapping[str, Sequence[str] | None]


class Batch(NamedTuple):
    """The activations (B, S, ...) of every layer in the same samples.

    ``ids`` (B,): their names, if they have any. ``prefixes``: what models say of their layers' tokens.
    """

    ids: Any
    activations: dict[Member, Tensor]
    prefixes: dict[Member, Prefix]


def forwarded(forwards: list[Forward], files: list[Recorded], data: Any, patterns: Patterns) -> Iterator[Batch]:
    """What every layer gives of each batch of ``data``, and the recorded activations of the same samples."""
    stream = data.iter_torch_batches() if hasattr(data, "iter_torch_batches") else data
    layers = _layers(files, patterns)
    _check_lengths(files, _length(data) if files else None)
    start = 0
    for given in stream:
        batch = as_tensors(given)
        end = start + (images_in(batch) or 0)
        for file in files:
            if file.samples < end:
                raise UserError(f"{file.name} has {file.samples:,} samples and data has more; record the same ones.")
        activations = {Member(f.name, layer): values for f in forwards for layer, values in f(batch).items()}
        prefixes = {Member(f.name, layer): prefix for f in forwards for layer, prefix in f.prefixes.items()}
        yield Batch(None, activations | _rows(files, layers, [slice(start, end)] * len(files)), prefixes)
        start = end
    _check_lengths(files, start)


def read(files: list[Recorded], patterns: Patterns) -> Iterator[Batch]:
    """The recorded activations, in the order of the first recording."""
    orders, layers = paired(files), _layers(files, patterns)
    sizes = [math.prod(file.layers[part.path].shape[1:]) for file in files for part in layers[file.name].values()]
    step = max(1, min(ROWS, ENTRIES // sum(sizes)))
    with tempfile.TemporaryDirectory() as folder:
        files = [
            file if order is None else file.in_any_order(folder) for file, order in zip(files, orders, strict=True)
        ]
        for start in range(0, files[0].samples, step):
            part = slice(start, min(start + step, files[0].samples))
            wanted = [part if order is None else order[part] for order in orders]
            yield Batch(None if files[0].ids is None else files[0].ids[part], _rows(files, layers, wanted), {})


def _layers(files: list[Recorded], patterns: Patterns) -> dict[str, dict[str, Part]]:
    """The layers of every recording that are compared."""
    return {file.name: chosen(file.name, list(file.layers), patterns.get(file.name)) for file in files}


def _rows(files: list[Recorded], layers: dict[str, dict[str, Part]], wanted: Sequence[Any]) -> dict[Member, Tensor]:
    found: dict[Member, Tensor] = {}
    for file, samples in zip(files, wanted, strict=True):
        for layer, part in layers[file.name].items():
            values = file.rows(part.path, samples)
            if values.dtype not in (np.float16, np.float32, np.float64):
                values = values.astype(np.float32)
            found[Member(file.name, layer)] = taken(part, torch.from_numpy(np.ascontiguousarray(values)))
    return found


def _length(data: Any) -> int | None:
    """How many samples ``data`` has, where that can be told before it is read."""
    if isinstance(data, list | tuple):
        return sum(images_in(as_tensors(batch)) or 0 for batch in data)
    is_loader = isinstance(data, torch.utils.data.DataLoader) and data.batch_size and not data.drop_last
    return len(data.sampler) if is_loader and isinstance(data.sampler, Sized) else None


def _check_lengths(files: list[Recorded], samples: int | None) -> None:
    for file in files:
        if samples is not None and file.samples != samples:
            raise UserError(f"{file.name} has {file.samples:,} samples and data {samples:,}; record the same ones.")
