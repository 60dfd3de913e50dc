"""Activations of named layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.unit_axis import UnitAxis


class Tapped(NamedTuple):
    """What one layer gives: ``values`` and, where it ends in a ReLU module, what went into that."""

    values: Tensor
    before: Tensor | None


class Taps:
    """Runs a network and returns the activations of named layers, as they are when the layer returns them.

    A call maps images (B, 3, H, W) to one tensor per layer in the order given: (B, S, ...) with any number of
    positions' axes after the unit axis, wherever the network has that (`raycv.networks.unit_axis`).

    What a network changes in place later on, as the sum of a residual block changes its last normalisation's output,
    is copied first. Which layers these are is found once, with one image, by PyTorch's counts of such changes.
    """

    def __init__(self, net: nn.Module, layers: Sequence[str], output: str) -> None:
        self.net, self.layers, self.output = net, tuple(layers), output
        self._axis = UnitAxis(net)
        self._seen: dict[str, Tapped] | None = None  # there while a call is under way
        self._rectified: tuple[Tensor, Tensor] | None = None  # what the last ReLU took and gave
        self._changed: frozenset[str] | None = None  # layers whose activations are changed after they have returned
        self._counts: dict[str, list[int]] = {}  # how often each layer's were changed when it returned
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
            parts = [out] if taken is None or given is not out else [out, taken]
            if layer in (self._changed or ()):
                parts = [part.clone() for part in parts]
            values, *before = (part.movedim(self._axis.of(out), 1) for part in parts)
            self._seen[layer] = Tapped(values, before[0] if before else None)
            if self._changed is None:
                self._counts[layer] = _counts(self._seen[layer])

        return record

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return {layer: tapped.values for layer, tapped in self.with_before(images).items()}

    def with_before(self, images: Tensor) -> dict[str, Tapped]:
        """The same, and the activations before the ReLU of every layer that ends in one, as a module."""
        self._find_changed(lambda: self.net(images[:1]))
        with torch.inference_mode():
            return self._run(lambda: self.net(images))

    def during(self, call: Callable[[], Any]) -> dict[str, Tensor]:
        """What the layers give while ``call`` runs the network, in whatever way; it is called twice the first time."""
        self._find_changed(call)
        with torch.inference_mode():
            return {layer: tapped.values for layer, tapped in self._run(call).items()}

    def _find_changed(self, call: Callable[[], Any]) -> None:
        """Note the layers of which a part is changed between the return of the layer and that of the network."""
        if self._changed is None:
            with torch.no_grad():  # in inference mode PyTorch does not count
                found = self._run(call)
            self._changed = frozenset(
                layer for layer, counts in self._counts.items() if _counts(found[layer]) != counts
            )

    def _run(self, call: Callable[[], Any]) -> dict[str, Tapped]:
        seen: dict[str, Tapped] = {}
        self._seen = seen
        try:
            output = call()
        finally:
            self._seen = self._rectified = None
        return {layer: seen.get(layer) or Tapped(output, None) for layer in self.layers}


def _counts(tapped: Tapped) -> list[int]:
    """How often each part was changed in place; views count with what they show."""
    return [part._version for part in tapped if part is not None]


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
    axis = UnitAxis(net)
    handle = modules[layer].register_forward_hook(stop)
    try:
        net(images)
        raise RuntimeError(f"the network never ran {layer}")
    except _Reached as reached:
        found: Tensor = reached.args[0]
    finally:
        handle.remove()
        axis.remove()
    return found.movedim(axis.of(found), 1)


def as_samples(activation: Tensor) -> Tensor:
    """Activations (B, S, ...) as samples (B x positions, S), float32 or float64; a view where it is channels-last."""
    values = activation if activation.dtype == torch.float64 else activation.float()
    return values if values.ndim == 2 else values.movedim(1, -1).reshape(-1, values.shape[1])
