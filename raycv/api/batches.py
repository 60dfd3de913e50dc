"""The activations of all networks in the same samples, batch by batch."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from raycv.api.calling import as_tensors
from raycv.api.forward import Forward, alike, chosen, random_states, set_random_states
from raycv.api.masks import Masks
from raycv.api.members import Member
from raycv.data.recorded import Recorded, in_full, paired
from raycv.data.samples import beside_data
from raycv.errors import UserError
from raycv.networks.layouts import images_in
from raycv.networks.rectified import Before
from raycv.networks.tokens import Part, Prefix, taken

ROWS = 4096  # of recorded activations read at once, where they are not large
ENTRIES = 2**25  # of all layers, read at once
ASKED = 10_000  # of a sampler's numbers, to see whether they change
Patterns = Mapping[str, Sequence[str] | None]
Orders = list[NDArray[np.int64] | None]


class Batch(NamedTuple):
    """The activations (B, S, ...) of every layer in the same samples.

    ``ids`` (B,): their names, if they have any. ``prefixes``: what models say of their layers' tokens. ``before``: what
    went into the non-linearities of layers that end in a known one. ``mask`` (B, T): which positions of sequences are
    samples; None: all.
    """

    ids: Any
    activations: dict[Member, Tensor]
    prefixes: dict[Member, Prefix]
    before: dict[Member, Before]
    mask: Tensor | None = None


def forwarded(
    forwards: list[Forward], files: list[Recorded], data: Any, patterns: Patterns, masks: Masks
) -> Iterator[Batch]:
    """What every layer gives of each batch of ``data``, and the recorded activations of the same samples."""
    stream = data.iter_torch_batches() if hasattr(data, "iter_torch_batches") else data
    layers = _layers(files, patterns)
    if files:
        _check_fixed_order(files[0].name, data)
        _check_lengths(files, length(data))
    start = 0
    with _following(files, beside_data(files)) as (files, orders):
        for given in stream or ():
            batch = as_tensors(given)
            count = images_in(batch) or 0
            end, mask = start + count, masks.of(batch, count) if count else None
            for file in files:
                if file.samples < end:
                    raise UserError(
                        f"{file.name} has {file.samples:,} samples and data has more; record the same ones."
                    )
            tapped = {Member(f.name, layer): one for f in forwards for layer, one in f(batch, mask).items()}
            activations = {member: one.values for member, one in tapped.items()}
            before = {member: one.before for member, one in tapped.items() if one.before is not None}
            prefixes = {Member(f.name, layer): prefix for f in forwards for layer, prefix in f.prefixes.items()}
            activations |= _rows(files, layers, _wanted(orders, slice(start, end)))
            yield Batch(None, activations, prefixes, before, mask)
            start = end
    _check_lengths(files, start)


def read(files: list[Recorded], patterns: Patterns) -> Iterator[Batch]:
    """The recorded activations, in the order of the first recording."""
    orders, layers = paired(files), _layers(files, patterns)
    sizes = [math.prod(file.layers[part.path].shape[1:]) for file in files for part in layers[file.name].values()]
    step = max(1, min(ROWS, ENTRIES // sum(sizes)))
    with _following(files, orders) as (files, orders):
        for start in range(0, files[0].samples, step):
            part = slice(start, min(start + step, files[0].samples))
            ids = None if files[0].ids is None else files[0].ids[part]
            yield Batch(ids, _rows(files, layers, _wanted(orders, part)), {}, {})


@contextmanager
def _following(files: list[Recorded], orders: Orders) -> Iterator[tuple[list[Recorded], Orders]]:
    """The files as they can be read in these orders."""
    with tempfile.TemporaryDirectory() as folder:
        in_order = zip(files, orders, strict=True)
        yield [file if order is None else file.in_any_order(folder) for file, order in in_order], orders


def _wanted(orders: Orders, part: slice) -> list[Any]:
    return [part if order is None else order[part] for order in orders]


def _layers(files: list[Recorded], patterns: Patterns) -> dict[str, dict[str, Part]]:
    """The layers of every recording that are compared."""
    return {file.name: chosen(file.name, list(file.layers), patterns.get(file.name)) for file in files}


def _rows(files: list[Recorded], layers: dict[str, dict[str, Part]], wanted: Sequence[Any]) -> dict[Member, Tensor]:
    found: dict[Member, Tensor] = {}
    for file, samples in zip(files, wanted, strict=True):
        for layer, part in layers[file.name].items():
            values = in_full(f"{file.name}/{layer}", file.rows(part.path, samples))
            found[Member(file.name, layer)] = taken(part, torch.from_numpy(np.ascontiguousarray(values)))
    return found


def _check_fixed_order(name: str, data: Any) -> None:
    """Raise UserError where ``data`` comes in another order each time, so that no recording can stand in it."""
    if not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
        return
    of_batches = data.batch_sampler
    sampler = data.sampler if of_batches is None else getattr(of_batches, "sampler", of_batches)
    is_random = isinstance(sampler, RandomSampler | SubsetRandomSampler | WeightedRandomSampler)
    if is_random or getattr(sampler, "shuffle", False) or _changes(sampler):
        raise UserError(
            f"data is shuffled ({type(sampler).__name__}) and the samples of the recording {name} stand in one order; "
            "give a DataLoader with shuffle=False, in the order in which they were recorded."
        )


def _changes(sampler: Any) -> bool:
    """Whether a sampler gives another order when it is asked again. Random numbers stay as they are."""
    if isinstance(sampler, Iterator):  # which could be asked once
        return False
    states = random_states()
    one, other = (list(islice(sampler, ASKED)) for _ in range(2))
    set_random_states(states)
    return not alike(one, other)


def length(data: Any) -> int | None:
    """How many samples ``data`` has, where that can be told before it is read."""
    if isinstance(data, list | tuple):
        return sum(images_in(as_tensors(batch)) or 0 for batch in data)
    is_loader = isinstance(data, DataLoader) and data.batch_size and not data.drop_last
    return len(data.sampler) if is_loader and isinstance(data.sampler, Sized) else None


def _check_lengths(files: list[Recorded], samples: int | None) -> None:
    for file in files:
        if samples is not None and file.samples != samples:
            raise UserError(f"{file.name} has {file.samples:,} samples and data {samples:,}; record the same ones.")
