"""Which layers of a model one can name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.layouts import Found, Layout, from_own_pass, units_asked
from raycv.networks.models import check_model, kind_key, preprocessing_of, tokens_of, tried
from raycv.networks.module_paths import modules_of, path_of
from raycv.networks.recordings import opened
from raycv.networks.spec import ALEXNET_LAYERS, LOGITS, WIDTHS, NetworkSpec
from raycv.networks.taps import alike, known, record
from raycv.networks.tokens import part_of

T = TypeVar("T")
SHORT = 16  # tokens of a text in which the layers of a language model are found
SHOWN = 40  # layers at most, as a person reads them


class LayerSize(NamedTuple):
    """What one layer has: units, positions in an image (1 where there are none), and parameters below its module.

    ``grid``: the positions by axis: (height, width), (tokens,) or (). ``axes``: what the axes are of what it gives.
    """

    units: int
    positions: int
    parameters: int
    grid: tuple[int, ...] = ()
    axes: str = "images, units"


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
        tokens=tokens_of(model, SHORT),
    )


def matching(net: str, there: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The layers of ``there`` that match ``patterns``, pattern by pattern; ``*`` also stands for dots.

    A pattern may end in a part of tokens, ``:class`` or ``:patches``. Raises UserError for one that matches none.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        path, tokens = part_of(pattern)
        if pattern in there:  # whatever it holds: a recording may have a layer[0]
            found[pattern] = None
            continue
        some = [layer for layer in there if fnmatchcase(layer, path)]
        if not some:
            raise UserError(f"{net} has no layer {path!r}; the nearest are {', '.join(nearest(path, there))}.")
        found.update(dict.fromkeys(f"{layer}:{tokens}" if tokens else layer for layer in some))
    return list(found)


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


def nearest(name: str, layers: Sequence[str]) -> list[str]:
    """The layers whose names are most like ``name``; the first ones where none is."""
    return difflib.get_close_matches(name, layers, n=5, cutoff=0.4) or list(layers[:5])


def outline(layers: dict[str, LayerSize]) -> dict[str, LayerSize]:
    """Of many layers those at the top of the module tree, as deep as few enough remain to be read."""
    shown: dict[str, LayerSize] = {}
    for depth in range(1, 1 + max(name.count(".") + 1 for name in layers)):
        deeper = {name: layer for name, layer in layers.items() if name.count(".") < depth}
        if len(deeper) > SHOWN:
            break
        shown = deeper
    return shown or layers
