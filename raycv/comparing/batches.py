"""The activations of all networks in the same samples, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raycv.comparing.forward import Forward, chosen, inputs
from raycv.comparing.members import Member
from raycv.data.recorded import Recorded, paired
from raycv.errors import UserError

ROWS = 4096  # of recorded activations read at once
Batch = tuple[Any, dict[Member, Tensor]]
Patterns = Mapping[str, Sequence[str] | None]


def forwarded(
    modules: Mapping[str, nn.Module], files: list[Recorded], data: Any, patterns: Patterns
) -> Iterator[Batch]:
    """What every layer gives of each batch of ``data``, and the recorded activations of the same samples."""
    stream = data.iter_torch_batches() if hasattr(data, "iter_torch_batches") else data
    forwards: list[Forward] = []
    start = 0
    for given in stream or ():
        batch = inputs(given)
        forwards = forwards or [Forward(name, net, patterns.get(name), batch) for name, net in modules.items()]
        end = start + len(batch)
        for file in files:
            if file.samples < end:
                raise UserError(f"{file.name} has {file.samples:,} samples and data has more; record the same ones.")
        found = {Member(f.name, layer): values for f in forwards for layer, values in f(batch).items()}
        rows = {Member(f.name, layer): f.rows(layer, slice(start, end)) for f in files for layer in f.layers}
        yield None, found | _tensors(rows)
        start = end
    for file in files:
        if file.samples > start:
            raise UserError(f"{file.name} has {file.samples:,} samples and data {start:,}; record the same ones.")


def read(files: list[Recorded], patterns: Patterns) -> Iterator[Batch]:
    orders = paired(files)
    layers = {
        file.name: list(file.layers)
        if patterns.get(file.name) is None
        else chosen(file.name, list(file.layers), patterns[file.name] or ())
        for file in files
    }
    for start in range(0, files[0].samples, ROWS):
        part = slice(start, min(start + ROWS, files[0].samples))
        rows = {
            Member(file.name, layer): file.rows(layer, part if order is None else order[part])
            for file, order in zip(files, orders, strict=True)
            for layer in layers[file.name]
        }
        yield (None if files[0].ids is None else files[0].ids[part]), _tensors(rows)


def _tensors(rows: dict[Member, Any]) -> dict[Member, Tensor]:
    return {
        member: torch.from_numpy(np.ascontiguousarray(values, np.float64 if values.dtype == np.float64 else np.float32))
        for member, values in rows.items()
    }
