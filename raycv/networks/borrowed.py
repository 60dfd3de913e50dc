"""Networks that are lent for a while and come back as they were."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from raycv.errors import UserError

_lock = threading.Lock()
_lent: set[int] = set()  # ids of the modules that are lent now, by any thread
_eager = 0  # how many of those who borrowed have set PyTorch's compiler aside
_stances = ExitStack()


@contextmanager
def borrowed(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Networks in evaluation mode, which leave with the modes, buffers and requires_grad they came with.

    Whatever ends it: an error or Ctrl-C, too. Compiled networks run without the compiler meanwhile. What a forward pass
    of the user's leaves in other attributes of a module stays. Raises UserError where another thread, or what called
    this one, has borrowed a part of a network.
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
    values = {
        id(buffer): (buffer, buffer.detach().clone())
        for _, buffers in before
        for buffer in buffers.values()
        if buffer is not None and _has_values(buffer)
    }
    try:
        yield
    finally:
        for module, buffers in before:
            for name, buffer in buffers.items():
                if module._buffers.get(name) is not buffer and (buffer is None or id(buffer) in values):
                    module._buffers[name] = buffer
        with torch.no_grad():
            for buffer, value in values.values():
                if buffer.shape != value.shape:
                    buffer.data = value
                elif not torch.equal(buffer, value):
                    buffer.copy_(value)


def _has_values(buffer: Tensor) -> bool:
    """Whether a buffer is an ordinary tensor; a lazy module's is made in its first pass."""
    lazy = nn.parameter.is_lazy(buffer)
    return not (lazy or buffer.is_meta or buffer.is_inference() or buffer.layout is not torch.strided)


@contextmanager
def same_state(net: nn.Module) -> Iterator[None]:
    """A pass that leaves nothing behind for the next one: the attributes of all modules are the same afterwards.

    For networks that raycv has built itself. What a module changes inside a list or an object of its own stays.
    """
    modules = list(net.modules())
    before = [dict(vars(module)) for module in modules]
    try:
        with same_buffers(modules):
            yield
    finally:
        for module, attributes in zip(modules, before, strict=True):
            now = vars(module)
            if now.keys() != attributes.keys() or any(now[name] is not value for name, value in attributes.items()):
                now.clear()
                now.update(attributes)


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
