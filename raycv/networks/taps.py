"""Activations of named layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.borrowed import same_state
from raycv.networks.foreign import restores_itself
from raycv.networks.layouts import CallShapes, Found, Layout, Probed, from_own_pass, probe, seen, units_asked
from raycv.networks.module_paths import CALL, modules_of, path_of
from raycv.networks.rectified import Before, Rectified
from raycv.networks.watching import Calls, Returned, watched


class Tapped(NamedTuple):
    """What one layer gives: ``values`` and, where it ends in a known non-linearity, what went into that."""

    values: Tensor
    before: Before | None


class Kept(NamedTuple):
    """Copies of the tensors that a module returned in one call, by their number, and what is known of them."""

    leaves: dict[int, Tensor]
    before: Before | None
    seen: CallShapes


class Taps:
    """Runs a network and returns the activations of named layers, as they are when the layer returns them.

    A call maps images (B, 3, H, W) to one tensor per layer in the order given: (B, S, ...) with any number of
    positions' axes after the unit axis, wherever the network has its images and units (`raycv.networks.layouts`).
    PATH#2 is what a module returns when it runs for the second time in a pass.

    Activations are copied as a layer returns them, because many networks change them in place later on. Hooks are there
    while a pass runs and no longer, and a pass leaves nothing in the network that the next one could find.
    """

    def __init__(self, net: nn.Module, layers: Sequence[str], output: str) -> None:
        self.net, self.layers, self.output = net, tuple(layers), output

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return {layer: tapped.values for layer, tapped in self.with_before(images).items()}

    def with_before(self, images: Tensor) -> dict[str, Tapped]:
        """The same, and those before the non-linearity of layers that end in one (`raycv.networks.nonlinearity`).

        Raises UserError where it cannot be told which axes of a layer count images and units.
        """
        probed, modules = known(self.net, images), modules_of(self.net)
        inside = [layer for layer in self.layers if layer != self.output or layer in modules]
        paths = {path_of(layer) for layer in inside}
        state = nullcontext() if restores_itself(self.net) else same_state(self.net)
        with torch.enable_grad() if probed.gradients else torch.no_grad(), state:
            output, kept = record(self.net, lambda: self.net(images), paths, probed.layers, Rectified())
        layouts = probed.layers or from_own_pass(kept, len(images), units_asked(self.net))
        activations = {}
        for layer in inside:
            if layer not in kept:
                raise UserError(_not_run(layer, list(kept)))
            activations[layer] = laid_out(layer, kept[layer], layouts.get(layer, "it does not run"), len(images))
        if isinstance(output, Tensor):
            activations.setdefault(self.output, Tapped(output.detach(), None))
        elif self.output in self.layers and self.output not in activations:
            raise UserError(f"The network returns a {type(output).__name__}, in which its outputs cannot be told.")
        return {layer: activations[layer] for layer in self.layers}


def record(
    net: nn.Module,
    run: Callable[[], Any],
    paths: Collection[str] | None,
    layouts: Found | None,
    rectified: Rectified | None = None,
) -> tuple[Any, dict[str, Kept]]:
    """What ``run`` returns, and copies of what the modules of ``net`` at ``paths`` (None: all) give, by call.

    Of each the tensor that its layout names; all, where ``layouts`` are not known. With ``rectified`` also what went
    into non-linearities.
    """

    def kept(one: Returned) -> Kept:
        layout = None if layouts is None else layouts.get(name_in(layouts, one))
        wanted = [layout.leaf] if isinstance(layout, Layout) else range(len(one.leaves))
        copies = {n: _copy(one.leaves[n]) for n in wanted if n < len(one.leaves) and one.leaves[n].is_floating_point()}
        before = one.before and one.before._replace(values=_copy(one.before.values))
        return Kept(copies, before, seen(one))

    return record_as(net, run, paths, kept, rectified)


Made = TypeVar("Made")


def record_as(
    net: nn.Module,
    run: Callable[[], Any],
    paths: Collection[str] | None,
    made: Callable[[Returned], Made],
    rectified: Rectified | None = None,
) -> tuple[Any, dict[str, Made]]:
    """What ``run`` returns, and what is ``made`` of what modules of ``net`` at ``paths`` give, when they give it."""
    calls: Calls[Made] = Calls()
    output = watched(net, run, lambda one: calls.keep(one, made(one)), paths, calls, rectified)
    return output, calls.kept()


def name_in(layouts: Found, one: Returned) -> str:
    """The name of a call among ``layouts``: the module's path where it ran once."""
    return one.path if one.path in layouts else f"{one.path}{CALL}{one.call}"


def _copy(values: Tensor) -> Tensor:
    return values.detach().clone()


def _not_run(layer: str, ran: Sequence[str]) -> str:
    calls = [name for name in ran if path_of(name) == layer]
    if calls:
        return (
            f"Layer {layer!r} runs {len(calls)} times in one forward pass; name one of its calls, {calls[0]} to "
            f"{calls[-1]}, or the block around it."
        )
    return f"Layer {layer!r} does not run in a forward pass; choose another one."


def laid_out(layer: str, kept: Kept, layout: Layout | str, count: int) -> Tapped:
    """The activations (count, S, ...) of a layer. Raises UserError where it has no layout, or another shape."""
    if isinstance(layout, str):
        raise UserError(f"Layer {layer!r} cannot be compared: {layout}.")
    if layout.leaf not in kept.leaves:
        raise UserError(f"Layer {layer!r} cannot be compared: it gives no tensor of activations for some batches.")
    try:
        values = layout.of(kept.leaves[layout.leaf], count)
        return Tapped(values, kept.before and _of_units(kept.before, layout, count))
    except ValueError as error:
        raise UserError(
            f"Layer {layer!r} cannot be compared: its output has not the same shape for all batches ({error})."
        ) from None


def _of_units(before: Before, layout: Layout, count: int) -> Before:
    """With ``values`` (count, S, ...); of a normalisation of anything but the units nothing is told."""
    values = layout.of(before.values, count)
    normalises_units = before.scale is not None and len(before.scale) == values.shape[1]
    before = before._replace(values=values)
    return before if normalises_units else before._replace(scale=None, shift=None)


_known: WeakKeyDictionary[nn.Module, dict[Any, Probed]] = WeakKeyDictionary()


def known(net: nn.Module, images: Tensor) -> Probed:
    """How the layers of a network of a run are laid out, for images of this size; found once."""
    of_net = _known.setdefault(net, {})
    size = (*images.shape[1:], images.dtype)
    if size not in of_net:
        of_net[size] = probe(net, lambda one, batch: one(batch), images, units_asked(net))
    return of_net[size]


@lru_cache(maxsize=16)
def _of_kind(_kind: Hashable) -> dict[Any, Probed]:
    return {}


def alike(net: nn.Module, kind: Hashable) -> nn.Module:
    """The same network, of which is ``known`` what is of all others without values of one kind."""
    if all(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())):
        _known[net] = _of_kind(kind)
    return net


class _Reached(Exception):
    """Carries the activations of the layer asked for out of the forward pass."""


def activation(net: nn.Module, layer: str, output: str, images: Tensor) -> Tensor:
    """Activations (B, S, ...) of one layer, as from `Taps`; the network runs no further than it."""
    if layer == output and layer not in modules_of(net):
        logits: Tensor = net(images)
        return logits
    call = int(layer.rpartition(CALL)[2]) if path_of(layer) != layer else 1
    layouts = known(net, images).layers

    def stop(one: Returned) -> None:
        if one.call == call:
            raise _Reached(one)

    try:
        watched(net, lambda: net(images), stop, {path_of(layer)})
    except _Reached as reached:
        one: Returned = reached.args[0]
    else:
        raise UserError(f"The network has never run its layer {layer!r}; name another one.")
    kept = Kept(dict(enumerate(one.leaves)), None, seen(one))
    found = (layouts or from_own_pass({layer: kept}, len(images), units_asked(net))).get(
        layer, "it runs several times in a pass"
    )
    return laid_out(layer, kept, found, len(images)).values


def as_samples(activation: Tensor) -> Tensor:
    """Activations (B, S, ...) as samples (B x positions, S), float32 or float64; a view where it is channels-last."""
    values = activation if activation.dtype == torch.float64 else activation.float()
    return values if values.ndim == 2 else values.movedim(1, -1).reshape(-1, values.shape[1])
