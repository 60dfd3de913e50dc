"""How a network is called with a batch: which parts of the batch it takes, by what their names or places are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.layouts import mapped
from raycv.networks.module_paths import unwrapped

Call = Callable[[nn.Module, Any], Any]  # what a user gives as ``forward``
OTHER = "say how the network is called with forward=, a function of the network and a batch"


def as_tensors(batch: Any) -> Any:
    """A batch with tensors in the place of arrays. Raises UserError for nested lists of numbers that are no array."""
    if isinstance(batch, Tensor):
        return batch
    if isinstance(batch, Mapping):
        return {name: as_tensors(value) for name, value in batch.items()}
    if isinstance(batch, np.ndarray):
        return torch.as_tensor(batch) if batch.dtype.kind in "biufc" else batch
    if isinstance(batch, tuple | list) and not all(_is_plain(value) for value in batch):
        values = [as_tensors(value) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else tuple(values)
    if isinstance(batch, list) and batch:
        try:
            return torch.as_tensor(batch)
        except (ValueError, TypeError) as error:
            raise UserError(f"A batch of data is a list that makes no tensor: {str(error).rstrip('.')}.") from None
    return batch


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, or nested lists of numbers."""
    return isinstance(value, int | float) or (isinstance(value, list) and all(_is_plain(one) for one in value))


def caller(name: str, net: nn.Module, forward: Call | None, ours: Collection[str] = ()) -> Call:
    """Calls a network like ``net``, or a copy of it, with a batch.

    ``ours``: parts of a mapping that are for raycv, but for networks that take them.
    """
    if forward is not None:
        return forward
    parameters = list(inspect.signature(unwrapped(net).forward).parameters.values())

    def call(one: nn.Module, batch: Any) -> Any:
        args, kwargs = arguments(name, parameters, _without(batch, ours, parameters))
        return one(*args, **kwargs)

    return call


def _without(batch: Any, ours: Collection[str], parameters: Sequence[Parameter]) -> Any:
    if not isinstance(batch, Mapping):
        return batch
    known = {one.name for one in parameters}
    return {key: value for key, value in batch.items() if key not in ours or key in known}


def moved(batch: Any, net: nn.Module) -> Any:
    """Copies of the tensors of a batch on the device of ``net``: what a network does to them, no other one sees."""
    device = next((tensor.device for tensor in (*net.parameters(), *net.buffers())), None)
    return mapped(batch, lambda tensor: tensor.detach().to(device or tensor.device, copy=True))


def arguments(name: str, parameters: Sequence[Parameter], batch: Any) -> tuple[list[Any], dict[str, Any]]:
    """What of a batch network ``name`` is called with, by the ``parameters`` of its forward.

    Raises UserError where the batch lacks something, and where it has something else that may be meant.
    """
    places = [one for one in parameters if one.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    named = [one for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
    required = [one for one in places if one.default is Parameter.empty]
    if isinstance(batch, Mapping):
        return _of_mapping(name, places + named, batch)
    given = list(batch) if isinstance(batch, tuple) else [batch]
    needed = [one for one in named if one.default is Parameter.empty]
    if needed:
        if required or len(needed) != len(given):
            raise UserError(f"{_needs(name, required + needed)}, and a batch of data has {len(given)}; {OTHER}.")
        return [], {one.name: value for one, value in zip(needed, given, strict=True)}
    wanted = max(1, len(required))
    if len(given) < wanted:
        raise UserError(f"{_needs(name, required)}, and a batch of data has {len(given)}; give tuples, or {OTHER}.")
    has_more = len(places) > wanted or any(one.kind is Parameter.VAR_POSITIONAL for one in parameters)
    unclear = [n for n, value in enumerate(given[wanted:], wanted) if has_more and not _is_label(value)]
    if unclear:
        raise UserError(
            f"A batch of data has {len(given)} parts, and the forward of {name} may take more than {wanted}, so that "
            f"it is not clear what part {unclear[0] + 1} is; {OTHER}."
        )
    return given[:wanted], {}


def _of_mapping(
    name: str, parameters: Sequence[Parameter], batch: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    known = {one.name for one in parameters}
    required = {one.name for one in parameters if one.default is Parameter.empty}
    rest = {key: value for key, value in batch.items() if not _is_label(value) and not str(key).startswith("label")}
    if required <= rest.keys() <= known and rest:
        return [], rest
    if len(rest) != 1 or len(required) > 1 or not rest.keys().isdisjoint(known):
        raise UserError(
            f"A batch of data has {', '.join(map(repr, batch))}, of which {len(rest)} may be what a network takes, "
            f"and the forward of {name} takes {', '.join(one.name for one in parameters)}; give batches with one "
            f"tensor of two axes or more, or with these names, or {OTHER}."
        )
    return list(rest.values()), {}


def _needs(name: str, parameters: Sequence[Parameter]) -> str:
    return f"The forward of {name} needs {len(parameters)} inputs ({', '.join(one.name for one in parameters)})"


def _is_label(value: Any) -> bool:
    """Whether a part of a batch is one number or text for each image, as labels and names of files are."""
    return getattr(value, "ndim", 0) < 2 and isinstance(value, Tensor | np.ndarray | Sequence | int | float | None)
