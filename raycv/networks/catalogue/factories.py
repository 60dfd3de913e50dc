"""A user's own function that builds a network, package.module:function.

It returns a PyTorch module with whatever weights it has, or the module and a `raycv.Preprocessing`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks import trust
from raycv.networks.catalogue.timm_models import of_timm
from raycv.networks.foreign import to_stderr, users_code
from raycv.networks.spec import Argument, NetworkSpec
from raycv.progress import doing


def check(model: str, _arguments: Mapping[str, Argument]) -> None:
    """Raise UserError unless there is such a function and the user allows that it is called."""
    _function(model)


def construct(spec: NetworkSpec, _published: bool) -> nn.Module:
    """What the function returns for the arguments of ``spec``."""
    net, _ = _called(spec.model, dict(spec.arguments))
    if any(
        isinstance(value, UninitializedParameter | UninitializedBuffer) for value in (*net.parameters(), *net.buffers())
    ):
        side = spec.preprocessing.crop  # lazy modules find their shapes in the first images
        with users_code(f"{spec.model} fails on images of {side} x {side} pixels"), torch.no_grad():
            net.eval()(torch.zeros(2, 3, side, side))
    return net


def preprocessing(model: str, arguments: dict[str, object]) -> Preprocessing:
    """What the function returns beside the network, or what timm says of one that it returns."""
    return _preprocessing(model, tuple(arguments.items()))


@lru_cache  # the function may take long
def _preprocessing(model: str, arguments: tuple[tuple[str, Any], ...]) -> Preprocessing:
    with doing(f"calling {model}"):
        net, found = _called(model, dict(arguments))
    if found is None and isinstance(getattr(net, "pretrained_cfg", None), dict):
        found = of_timm(model, {"crop_pct": 1.0, "interpolation": "bicubic", **net.pretrained_cfg})  # type: ignore[dict-item]
    if found is None:
        raise UserError(
            f"{model} does not say how its network wants images: return the network and a raycv.Preprocessing, or give "
            "preprocessing in the list of networks."
        )
    return found


def _called(model: str, arguments: dict[str, Any]) -> tuple[nn.Module, Preprocessing | None]:
    function = _function(model)
    with users_code(f"{model} failed"), to_stderr():
        found = function(**arguments)
    net, preprocessing = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    if not isinstance(net, nn.Module) or not isinstance(preprocessing, Preprocessing | None):
        raise UserError(
            f"{model} returned {type(found).__name__}; it must return a PyTorch module, or a module and a "
            "raycv.Preprocessing."
        )
    return net, preprocessing


def _function(model: str) -> Callable[..., Any]:
    if not trust.is_well_written(model):
        raise UserError(f"There is no model {model!r}; a function of your own is named as package.module:function.")
    trust.check(model)
    module, _, name = model.partition(":")
    if os.getcwd() not in sys.path:  # as for `python -m`; a console script leaves it out
        sys.path.insert(0, os.getcwd())
    try:
        with users_code(f"The module {module} fails when it is imported"), to_stderr():
            imported = importlib.import_module(module)
    except UserError as error:
        if not _is_missing(module, error.__cause__):
            raise
        raise UserError(
            f"The model {model} cannot be imported: there is no module {module}; name it as package.module:function, "
            "from the folder in which you start raycv (on a cluster, from its working_dir)."
        ) from None
    found = getattr(imported, name, None)
    if found is None:
        raise UserError(f"The module {module} has no function {name!r}, which the model {model} names.")
    if not callable(found):
        raise UserError(f"{model} is {type(found).__name__}; it must be a function that returns a network.")
    function: Callable[..., Any] = found
    return function


def _is_missing(module: str, error: BaseException | None) -> bool:
    """Whether there is no such module, and not one that it imports in turn."""
    return isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
