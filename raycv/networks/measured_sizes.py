"""How large a network is, found by running it without content, or where it looks at values, with noise."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from raycv.networks.alexnet_sizes import Sizes
from raycv.networks.models import kind_key, tried
from raycv.networks.places import taps_of
from raycv.networks.spec import NetworkSpec
from raycv.networks.taps import alike


def measured(spec: NetworkSpec) -> Sizes:
    """The sizes of the network of ``spec``. Raises UserError where it cannot be built or a layer cannot be tapped."""
    return tried(spec, partial(_measured, spec))


def _measured(spec: NetworkSpec, net: nn.Module, images: Tensor) -> Sizes:
    given: list[int] = []
    taps, image = taps_of(alike(net, kind_key(spec)), spec), images[:1]
    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _module, _given, out: given.append(_numbers(out)))
    samples = None if spec.tokens is None else torch.arange(spec.tokens.samples, device=image.device)[None]
    found = taps(image, samples)
    layers = {layer: (int(value.shape[1]), math.prod(value.shape[2:])) for layer, value in found.items()}
    state = net.state_dict()
    return Sizes(layers, sum(int(value.numel()) for value in state.values()), sum(given), frozenset(state))


def _numbers(out: object) -> int:
    return out.numel() if isinstance(out, Tensor) else 0
