"""Copies of a network that can be run without its noticing: without values, with its parameters, or with their own."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def without_values(net: nn.Module) -> nn.Module | None:
    """A copy on the device meta, which takes no memory; None where ``net`` cannot be copied."""
    return _copied(net, lambda tensor: tensor.detach().to("meta"))


def with_values(net: nn.Module) -> nn.Module | None:
    """A copy that shares the parameters and has buffers of its own; None where ``net`` cannot be copied."""
    return _copied(net, lambda tensor: tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.detach().clone())


def of_its_own(net: nn.Module) -> nn.Module | None:
    """A copy that shares nothing; None where ``net`` cannot be copied."""
    return _copied(net, lambda tensor: tensor.detach().clone())


def _copied(net: nn.Module, tensor: Any) -> nn.Module | None:
    modules = list(net.modules())
    if any("forward" in vars(module) or isinstance(module, torch.jit.ScriptModule) for module in modules):
        return None  # what stands in the place of the method knows the network and not the copy
    memo: dict[int, Any] = {}
    kept: list[tuple[Any, Any]] = []
    for one in _tensors([vars(module) for module in modules]):
        if not nn.parameter.is_lazy(one):
            made = tensor(one)
            memo[id(one)] = nn.Parameter(made, one.requires_grad) if isinstance(one, nn.Parameter) else made
    for module in modules:
        for name in HOOKS:
            hooks = getattr(module, name)
            memo[id(hooks)] = OrderedDict()
            kept.append((hooks, memo[id(hooks)]))
    try:
        made = copy.deepcopy(net, memo)
        for hooks, target in kept:
            target.update({key: copy.deepcopy(hook, memo) for key, hook in hooks.items() if _is_own(hook)})
    except Exception:  # what a user keeps in a module may be anything
        return None
    found: nn.Module = made
    return found


def _is_own(hook: Any) -> bool:
    """Whether a hook belongs to its network, as those that compute weights do: a user's would be told of the copy."""
    owner = hook.__self__ if isinstance(hook, MethodType) else hook
    return isinstance(owner, nn.Module) or type(owner).__module__.startswith("torch.")


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, list | tuple | set):
        for value in values:
            yield from _tensors(value)
