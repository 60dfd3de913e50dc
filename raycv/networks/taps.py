"""Activations of named layers of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from raycv.errors import UserError


class Tapped(NamedTuple):
    """What one layer gives: ``values`` and, where it ends in a ReLU module, what went into that."""

    values: Tensor
    before: Tensor | None


class Taps:
    """Runs a network and returns the activations of named layers.

    A call maps images (B, 3, H, W) to one tensor per layer in the order given: (B, S, ...) with any number of
    spatial axes after the unit axis; a transformer's (B, tokens, S) is returned as (B, S, tokens).
    """

    def __init__(self, net: nn.Module, layers: Sequence[str], output: str) -> None:
        self.net, self.layers, self.output = net, tuple(layers), output
        self._seen: dict[str, Tapped] | None = None  # there while a call is under way
        self._rectified: tuple[Tensor, Tensor] | None = None  # what the last ReLU took and gave
        modules = dict(net.named_modules())
        for module in modules.values():
            if isinstance(module, nn.ReLU):  # first, because a ReLU may be a layer itself
                module.register_forward_hook(self._note)
        for layer in self.layers:
            if layer in modules:
                modules[layer].register_forward_hook(self._hook(layer))

    def _note(self, _module: nn.Module, args: Any, out: Tensor) -> None:
        if self._seen is not None:
            self._rectified = args[0], out

    def _hook(self, layer: str) -> Any:
        def record(_module: nn.Module, _args: Any, out: Any) -> None:
            if self._seen is None:
                return
            if not isinstance(out, Tensor) or out.ndim < 2:
                raise UserError(f"Layer {layer!r} does not return one tensor of units; choose another layer.")
            if layer in self._seen:
                raise UserError(
                    f"Layer {layer!r} runs more than once in one forward pass, so its units are not well defined; "
                    "choose the block around it instead."
                )
            taken, given = self._rectified or (None, None)
            before = taken if given is out else None
            self._seen[layer] = Tapped(units_second(out), None if before is None else units_second(before))

        return record

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return {layer: tapped.values for layer, tapped in self.with_before(images).items()}

    @torch.inference_mode()
    def with_before(self, images: Tensor) -> dict[str, Tapped]:
        """The same, and the activations before the ReLU of every layer that ends in one, as a module."""
        seen: dict[str, Tapped] = {}
        self._seen = seen
        try:
            logits = self.net(images)
        finally:
            self._seen = self._rectified = None
        return {layer: seen.get(layer) or Tapped(logits, None) for layer in self.layers}


class _Reached(Exception):
    """Carries the activations of the layer asked for out of the forward pass."""


def activation(net: nn.Module, layer: str, output: str, images: Tensor) -> Tensor:
    """Activations (B, S, ...) of one layer, as from `Taps`; the network runs no further than it."""

    def stop(_module: nn.Module, _args: Any, out: Tensor) -> None:
        raise _Reached(out)

    modules = dict(net.named_modules())
    if layer == output and layer not in modules:
        logits: Tensor = net(images)
        return logits
    handle = modules[layer].register_forward_hook(stop)
    try:
        net(images)
        raise RuntimeError(f"the network never ran {layer}")
    except _Reached as reached:
        found: Tensor = reached.args[0]
    finally:
        handle.remove()
    return units_second(found)


def units_second(out: Tensor) -> Tensor:
    """A transformer's (B, tokens, S) as (B, S, tokens), all else as it is."""
    return out.transpose(1, 2) if out.ndim == 3 else out


def as_samples(activation: Tensor) -> Tensor:
    """Activations (B, S, ...) as samples (B x positions, S) float32; a view where the layout is channels-last."""
    values = activation.float()
    return values if values.ndim == 2 else values.movedim(1, -1).reshape(-1, values.shape[1])
