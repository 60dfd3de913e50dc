"""Networks that are lent for a while and come back as they were."""

from __future__ import annotations

import copy
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from raycv.errors import UserError

# Kinds of attributes in which a module may collect something.
COLLECTIONS = (list, dict, set, deque, bytearray, OrderedDict, defaultdict, Counter)

_lock = threading.Lock()
_lent: set[int] = set()  # ids of the modules that are lent now, by any thread
_eager = 0  # how many of those who borrowed have set PyTorch's compiler aside
_stances = ExitStack()


@contextmanager
def borrowed(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Networks in evaluation mode, which leave with the modes, buffers and requires_grad they came with.

    Whatever ends it: an error or Ctrl-C, too. Compiled networks run without the compiler meanwhile. What a forward pass
    of the user's leaves in other attributes of a module stays. Raises UserError where it changes weights, and where
    another thread, or what called this one, has borrowed a part of a network.
    """
    modules = {module: name for name, net in networks.items() for module in net.modules()}
    with ExitStack() as stack:
        stack.enter_context(_alone(modules))
        stack.enter_context(_without_compiler())
        stack.enter_context(_same_modes(modules))
        stack.enter_context(same_buffers(modules))
        stack.enter_context(_same_gradients(modules))
        for net in networks.values():
            net.eval()
        for name, net in networks.items():  # from here on: some merge weights when they go into evaluation mode
            stack.enter_context(same_weights(net, f"Network {name}"))
        yield


@contextmanager
def _alone(modules: Mapping[nn.Module, str]) -> Iterator[None]:
    """Nobody else borrows any of ``modules``, named by their networks."""
    mine = {id(module) for module in modules}
    with _lock:
        shared = next((name for module, name in modules.items() if id(module) in _lent), None)
        if shared is not None:
            raise UserError(
                f"Network {shared} is being compared already, by another thread or by what called this, and would be "
                "in two states at once; wait for the other comparison, or give a copy (copy.deepcopy)."
            )
        _lent.update(mine)
    try:
        yield
    finally:
        with _lock:
            _lent.difference_update(mine)


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Compiled code would keep hooks that were there when it was compiled, and not know those that come later."""
    global _eager
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and loading the compiler takes seconds
        yield
        return
    with _lock:
        _eager += 1
        if _eager == 1:
            _stances.enter_context(torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _lock:
            _eager -= 1
            if not _eager:
                _stances.close()


@contextmanager
def _same_modes(modules: Mapping[nn.Module, str]) -> Iterator[None]:
    modes = {module: module.training for module in modules}
    try:
        yield
    finally:
        for module, mode in modes.items():
            if mode and not module.training and type(module).train is not nn.Module.train:
                module.train()  # it may do more than to note the mode, as merge weights in evaluation
        for module, mode in modes.items():
            if module.training != mode:
                module.training = mode


@contextmanager
def same_buffers(modules: Iterable[nn.Module]) -> Iterator[None]:
    """The buffers of ``modules`` are the same tensors with the same values afterwards."""
    before = [(module, dict(module._buffers)) for module in modules]
    buffers = [buffer for _, of_module in before for buffer in of_module.values() if buffer is not None]
    with _same_values(buffers):
        try:
            yield
        finally:
            for module, of_module in before:
                for name, buffer in of_module.items():
                    if module._buffers.get(name) is not buffer and (buffer is None or _has_values(buffer)):
                        module._buffers[name] = buffer


@contextmanager
def _same_values(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Tensors that have values have the same ones afterwards."""
    before = {id(one): (one, one.detach().clone()) for one in tensors if _has_values(one)}
    try:
        yield
    finally:
        for tensor, value in before.values():
            with torch.no_grad(), torch.inference_mode(tensor.is_inference()):
                if tensor.shape != value.shape:
                    tensor.data = value
                # Compared: PyTorch's counts miss what batch normalisation changes, and what has not changed must not be
                # written: gradients may need it.
                elif not torch.equal(tensor, value):
                    tensor.copy_(value)


def _has_values(tensor: Tensor) -> bool:
    """Whether a tensor is an ordinary one; a lazy module's is made in its first pass."""
    return not (nn.parameter.is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided)


@contextmanager
def same_weights(net: nn.Module, who: str) -> Iterator[None]:
    """Raises UserError at the end where ``net`` has changed its weights, as far as PyTorch counts changes."""
    weights = {name: _changes(value) for name, value in net.named_parameters() if not nn.parameter.is_lazy(value)}
    yield
    changed = [name for name, value in net.named_parameters() if _changes(value) != weights.get(name, _changes(value))]
    if changed:
        raise UserError(
            f"{who} changes its own weights while it is used ({changed[0]}), so what it gives depends on what it was "
            "given before; compare networks that stay as they are."
        )


def _changes(value: Tensor) -> tuple[int, int | None]:
    """Which tensor it is, and how often it was changed in place; None where PyTorch does not count."""
    return id(value), None if value.is_inference() else value._version


@contextmanager
def same_state(net: nn.Module) -> Iterator[None]:
    """A pass that leaves nothing behind for the next one: buffers and other attributes are the same afterwards.

    So are lists, dictionaries and the like in which a module collects something; objects of other classes may change.
    """
    modules = list(net.modules())
    collections = _collections(modules, known={id(one): one for one in (*modules, *net.parameters())})
    before = [(module, dict(vars(module)), dict(module._buffers)) for module in modules]
    tensors = [value for _, attributes, _ in before for value in attributes.values() if isinstance(value, Tensor)]
    try:
        with same_buffers(modules), _same_values(tensors):
            yield
    finally:
        for module, attributes, buffers in before:
            for now, then in ((vars(module), attributes), (module._buffers, buffers)):
                if now.keys() != then.keys() or any(now[name] is not value for name, value in then.items()):
                    now.clear()
                    now.update(then)
        for collection, content in collections:
            collection.clear()
            (collection.update if isinstance(collection, dict | set) else collection.extend)(content)


def _collections(modules: Iterable[nn.Module], known: dict[int, object]) -> list[tuple[Any, Any]]:
    """The attributes of modules in which they may collect something, and copies of these that share ``known`` parts."""
    copies: dict[int, tuple[Any, Any]] = {}
    for module in modules:
        for name, value in vars(module).items():
            if type(value) in COLLECTIONS and name not in _PYTORCHS and id(value) not in copies:
                with suppress(Exception):  # what cannot be copied is not state that a network collects
                    copies[id(value)] = value, copy.deepcopy(value, known)
    return list(copies.values())


_PYTORCHS = frozenset(vars(nn.Module()))  # attributes in which PyTorch keeps parts and hooks


@contextmanager
def _same_gradients(modules: Mapping[nn.Module, str]) -> Iterator[None]:
    """Parameters take gradients, or do not, as before, and those that they have gathered are set aside meanwhile."""
    before = {
        parameter: (parameter.requires_grad, parameter.grad)
        for module in modules
        for parameter in module.parameters(recurse=False)
    }
    for parameter in before:
        parameter.grad = None  # to which a forward that works out gradients would add
    try:
        yield
    finally:
        for parameter, (wanted, gradient) in before.items():
            parameter.grad = gradient
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
