"""Which layers of a model one can name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from raycv.networks.models import hollow
from raycv.networks.spec import NetworkSpec
from raycv.networks.unit_axis import UnitAxis

SHOWN = 40  # layers at most, as a person reads them


def layers_of(spec: NetworkSpec) -> dict[str, int]:
    """The module paths of a network that give one tensor of units in every pass, in their order, and the units.

    The network and its activations have no content, so that the largest takes a moment.
    """
    units: dict[str, int] = {}
    passes: Counter[str] = Counter()

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            passes[name] += 1
            if isinstance(out, Tensor) and out.ndim >= 2:
                units[name] = out.shape[axis.of(out)]

        return hook

    net = hollow(spec)
    with torch.device("meta"), torch.inference_mode():
        axis = UnitAxis(net)
        for name, module in net.named_modules():
            if name:
                module.register_forward_hook(note(name))
        net(torch.empty(2, 3, spec.preprocessing.crop, spec.preprocessing.crop))
    return {name: units[name] for name, _ in net.named_modules() if name in units and passes[name] == 1}


def outline(layers: dict[str, int]) -> dict[str, int]:
    """Of many layers those at the top of the module tree, as deep as few enough remain to be read."""
    shown: dict[str, int] = {}
    for depth in range(1, 1 + max(name.count(".") + 1 for name in layers)):
        deeper = {name: units for name, units in layers.items() if name.count(".") < depth}
        if len(deeper) > SHOWN:
            break
        shown = deeper
    return shown or layers
