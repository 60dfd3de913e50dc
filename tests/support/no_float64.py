"""An accelerator of PyTorch's that is none: it computes on the CPU and has the rules of Apple's, no float64 above all.

PyTorch takes it for the accelerator of this process, from the import of this module on, so it is for processes that do
nothing else. Tensors say that they are on it. What is on it cannot be made a NumPy array, nor be computed with what is
on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class _Backend(_DummyBackendModule):
    """What stands at torch.apple."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend("apple", _Backend())
APPLE = torch.device("apple")
DOUBLE = (torch.float64, torch.complex128)
ACROSS = {"_to_copy", "copy_", "index", "index_put_", "index_put"}  # what may take tensors of both


class _OnDevice(torch.Tensor):
    """A tensor on the device; ``held`` is where its values are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> _OnDevice:
        if held.dtype in DOUBLE:
            raise TypeError("Cannot convert an Apple tensor to float64, which the device does not support.")
        made: _OnDevice = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=APPLE,
        )
        return made

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sends what makes tensors on the device to it, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
    there = [one for one in tensors if isinstance(one, _OnDevice)]
    name = func.overloadpacket.__name__
    others = [one for one in tensors if not isinstance(one, _OnDevice) and one.ndim]
    if there and others and name not in ACROSS:
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found cpu and apple")
    asked = kwargs.get("device")
    on_device = bool(there) if asked is None else torch.device(asked).type == APPLE.type
    if name == "copy_":
        on_device = isinstance(args[0], _OnDevice)
    given = kwargs | ({"device": torch.device("cpu")} if asked is not None else {})
    wrappers = {id(one.held): one for one in there}
    found = func(
        *tree_map(lambda one: one.held if isinstance(one, _OnDevice) else one, args),
        **tree_map(lambda one: one.held if isinstance(one, _OnDevice) else one, given),
    )

    def placed(one: Any) -> Any:
        if not isinstance(one, torch.Tensor) or not on_device:
            return one.clone() if isinstance(one, torch.Tensor) and id(one) in wrappers else one
        return wrappers[id(one)] if id(one) in wrappers else _OnDevice(one)

    return tree_map(placed, found)


@contextlib.contextmanager
def device_without_float64() -> Iterator[torch.device]:
    """The device, as long as the context is entered, in this thread."""
    with _Mode():  # type: ignore[no-untyped-call]
        yield APPLE
