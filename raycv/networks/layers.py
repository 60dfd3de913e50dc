"""Which layers of a model one can name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.catalogue import check_model, preprocessing_of, probe_of
from raycv.networks.layer_names import SHORT, LayerSize
from raycv.networks.layouts import Found, Layout, from_own_pass, units_asked
from raycv.networks.models import kind_key, tried
from raycv.networks.module_paths import modules_of, path_of
from raycv.networks.recordings import opened
from raycv.networks.spec import ALEXNET_LAYERS, LOGITS, WIDTHS, NetworkSpec
from raycv.networks.taps import alike, known, record

T = TypeVar("T")


def layers_of(spec: NetworkSpec) -> dict[str, LayerSize]:
    """The layers of a network, as ``layers_run`` finds them.

    The network and its activations have no content, so that the largest takes a moment. Of recorded activations they
    are the arrays (samples, units) or (samples, units, ...positions).
    """
    if spec.is_recorded:
        shapes = {layer: tuple(values.shape) for layer, values in opened(spec).layers.items()}
        return {layer: _recorded(shape) for layer, shape in shapes.items()}

    found = dict(_of_kind(spec, _layers_of))
    outputs = outputs_of(spec)
    if outputs and spec.output == LOGITS:
        found[LOGITS] = LayerSize(outputs, 1, 0)
    return found


def _recorded(shape: tuple[int, ...]) -> LayerSize:
    axes = ", ".join(["images", "units", *(f"{size:,}" for size in shape[2:])])
    return LayerSize(shape[1], math.prod(shape[2:]), 0, shape[2:], axes)


def outputs_of(spec: NetworkSpec) -> int | None:
    """How many values a network gives for an image; None where its output is no tensor (images, values)."""
    return None if spec.tokens else _of_kind(spec, _outputs_of)


def _of_kind(spec: NetworkSpec, look: Callable[[NetworkSpec], T]) -> T:
    """What is found once for all networks that are built alike; what cannot be is said of this one by its name."""
    try:
        return look(kind_key(spec))
    except UserError:
        return look(spec)


@lru_cache(maxsize=16)
def _layers_of(spec: NetworkSpec) -> dict[str, LayerSize]:
    return tried(spec, lambda net, images: layers_run(alike(net, spec), images))


@lru_cache(maxsize=16)
def _outputs_of(spec: NetworkSpec) -> int | None:
    return tried(spec, _units_of)


@torch.inference_mode()
def _units_of(net: nn.Module, images: Tensor) -> int | None:
    out = net(images)
    return int(out.shape[1]) if isinstance(out, Tensor) and out.ndim == 2 else None


def layers_of_model(model: str, classes: int = 10) -> dict[str, LayerSize]:
    """The layers of a model at its usual width. Raises UserError where there is no such model."""
    return layers_of(_bare(model, classes))


def left_out_of_model(model: str, classes: int = 10) -> dict[str, str]:
    """By each module of a model that runs and is no layer, why. Raises UserError where there is no such model."""
    found = tried(_bare(model, classes), _found)
    return {name: layout for name, layout in found.items() if isinstance(layout, str)}


def _bare(model: str, classes: int) -> NetworkSpec:
    check_model(model)
    output = ALEXNET_LAYERS[-1] if model in WIDTHS else LOGITS
    return NetworkSpec(
        name="net",
        model=model,
        classes=classes,
        seed=0,
        layers=(output,),
        preprocessing=preprocessing_of(model),
        tokens=probe_of(model, SHORT),
    )


def layers_run(net: nn.Module, images: Tensor) -> dict[str, LayerSize]:
    """The layers of ``net`` in the order in which they begin to run: every module with an axis of units.

    A module that runs several times in a pass is PATH#1, PATH#2 and so on.
    """
    modules = modules_of(net)
    return {
        name: LayerSize(
            layout.shape[layout.units],
            math.prod(layout.grid),
            _parameters(modules[path_of(name)]),
            layout.grid,
            layout.text,
        )
        for name, layout in _found(net, images).items()
        if isinstance(layout, Layout)
    }


def _found(net: nn.Module, images: Tensor) -> Found:
    layouts = known(net, images).layers
    if layouts is not None:
        return layouts
    with torch.no_grad():  # no copy can be run
        return from_own_pass(record(net, lambda: net(images), None, None)[1], len(images), units_asked(net))


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
