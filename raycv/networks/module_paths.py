"""The modules of a network by path, without what wraps them: what compiles a module or copies it to several devices."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.optim.swa_utils import AveragedModel

CALL = "#"  # between a module's path and the number of its call, where it runs several times in a pass
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def unwrapped(module: nn.Module) -> nn.Module:
    """What a compiled, parallel or averaged module wraps; any other as it is."""
    while True:
        inside = module.module if isinstance(module, WRAPPERS) else module._modules.get("_orig_mod")
        if not isinstance(inside, nn.Module):
            return module
        module = inside


def modules_of(net: nn.Module) -> dict[str, nn.Module]:
    """Every module of ``net`` once, by the first of its paths; not the network itself."""
    found: dict[nn.Module, str] = {}
    for path, module in _walk(net, "", ()):
        found.setdefault(module, path)
    return {path: module for module, path in found.items() if path}


def second_paths(net: nn.Module) -> dict[str, str]:
    """By each further path of a module that has several, its first one."""
    first: dict[nn.Module, str] = {}
    return {path: first[module] for path, module in _walk(net, "", ()) if first.setdefault(module, path) != path}


def path_of(layer: str) -> str:
    """The module's path in the name of a layer.

    >>> path_of("layer1.0.relu#2"), path_of("layer1.0.conv1")
    ('layer1.0.relu', 'layer1.0.conv1')
    """
    path, _, call = layer.rpartition(CALL)
    return path if path and call.isdigit() else layer


def _walk(module: nn.Module, path: str, around: tuple[nn.Module, ...]) -> Iterator[tuple[str, nn.Module]]:
    """Every path of every module; a module inside itself is left out."""
    module = unwrapped(module)
    if module in around:
        return
    yield path, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{path}.{name}" if path else name, (*around, module))
