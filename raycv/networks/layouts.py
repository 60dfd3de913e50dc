"""Which axes of what a layer gives count images, units and positions: found by running copies at other sizes.

The axis whose length follows the number of images counts these, wherever it is; an axis that follows the size of an
image or the length of a text counts positions; of the others one counts units. Only lengths are needed, so a copy
without values is run, which takes a moment and leaves the network alone. Where what a network does depends on values,
a copy that has them is run; where it cannot be copied, its own first pass must do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from raycv.devices import random_states_kept
from raycv.networks.module_paths import path_of
from raycv.networks.probe_copies import with_values, without_values
from raycv.networks.tokens import MOST
from raycv.networks.unit_axis import Hint
from raycv.networks.watching import Calls, Returned, tensors_in, watched

Run = Callable[[nn.Module, Any], Any]  # of a network with a batch of inputs
FEW = 4  # images from which on half of them are enough to tell


class CallShapes(NamedTuple):
    """What is noted of one call of a module: shapes and types of the tensors it returned, and the hint at units."""

    shapes: list[tuple[int, ...]]
    dtypes: list[torch.dtype]
    hint: Hint | None
    exact: bool


@dataclass(frozen=True)
class Layout:
    """Where in a layer's output its units are.

    ``leaf``: which of the tensors that it returns. ``shape``: of that tensor for one image, of which it has ``times``
    places on its axis ``images``. ``interleaved``: whether these places are those of all images in turn, one by one.
    ``units``: the axis of units.
    """

    leaf: int
    shape: tuple[int, ...]
    images: int
    times: int
    units: int
    interleaved: bool = False

    def of(self, out: Tensor, count: int) -> Tensor:
        """(count, S, ...positions): the activations of ``count`` images.

        Raises ValueError where the shape is another than expected.
        """
        expected = list(self.shape)
        expected[self.images] *= count
        if list(out.shape) != expected:
            if [size for size in out.shape if size > 1] != [size for size in expected if size > 1]:
                raise ValueError(f"{tuple(out.shape)} in the place of {tuple(expected)}")
            out = out.reshape(expected)  # a network that squeezes has lost the axis of a single image
        rows, units = out.movedim(self.images, 0), self.units + (self.units < self.images)
        if self.times > 1:
            split = (self.times, count) if self.interleaved else (count, self.times)
            rows = rows.reshape(*split, *rows.shape[1:])
            rows, units = (rows.transpose(0, 1) if self.interleaved else rows), units + 1
        return rows.movedim(units, 1)

    def along(self, out: Tensor) -> Layout:
        """The same where ``out`` has other positions, as longer sequences do."""
        if out.ndim != len(self.shape):
            return self
        fixed = (self.images, self.units)
        return replace(self, shape=tuple(n if a in fixed else out.shape[a] for a, n in enumerate(self.shape)))

    def back(self, values: Tensor) -> Tensor:
        """The reverse: activations (count, S, ...positions) as the layer gives them."""
        units = self.units + (self.units < self.images) + (self.times > 1)
        rows = values.movedim(1, units)
        if self.times > 1:
            rows = (rows.transpose(0, 1) if self.interleaved else rows).flatten(0, 1)
        return rows.movedim(0, self.images)

    @property
    def text(self) -> str:
        """The axes in their order, such as "images, units, 7, 7" or "5, images, units"; "4 x images" with windows."""
        several = f"{self.times} x " if self.times > 1 else ""
        names = {self.images: f"{several}images", self.units: "units"}
        return ", ".join(names.get(axis, f"{size:,}") for axis, size in enumerate(self.shape))

    @property
    def grid(self) -> tuple[int, ...]:
        """The positions of an image, axis by axis; the places on the images' axis come first."""
        rest = [size for axis, size in enumerate(self.shape) if axis not in (self.images, self.units)]
        return (self.times, *rest) if self.times > 1 else tuple(rest)


def ask_units(net: nn.Module, axes: Mapping[str, int]) -> None:
    """Say of layers of a network, and of its copies, which axis counts units, for `units_asked` to tell."""
    net._raycv_unit_axes = dict(axes)  # type: ignore[assignment]


def units_asked(net: nn.Module) -> dict[str, int]:
    """The axes of units that were said of a network's layers."""
    found: dict[str, int] = vars(net).get("_raycv_unit_axes", {})
    return found


class _Unclear(str):
    """Why a tensor that may well be the activations has no layout."""


Found = dict[str, Layout | str]  # by layer, in the order in which they begin; or why it is none


class Probed(NamedTuple):
    """What copies have told: the layers, and whether the network takes gradients inside. None where none could run."""

    layers: Found | None
    gradients: bool


def probe(net: nn.Module, run: Run, batch: Any, unit_axis: int | Mapping[str, int] | None = None) -> Probed:
    """The layout of every layer of ``net``, which is not run itself; ``run`` gives a copy the batches made of this."""
    count = images_in(batch)
    if count is None:
        return Probed(None, False)
    for values in (False, True):
        copied = with_values(net) if values else without_values(net)
        if copied is None:
            return Probed(None, False)
        sizes = (2 * count, 3 * count) if not values else (max(1, count // 2), count) if count >= FEW else (2, 3)
        for gradients in (False, True):
            try:
                one, other = (
                    _seen(copied, run, resized(batch, count, size, values), Calls[CallShapes](), gradients=gradients)
                    for size in sizes
                )
            except Exception:  # whatever a user's forward does without values
                continue
            few = resized(batch, count, min(count, 2) if values else count, values)
            longer = _longer(copied, run, few, gradients=gradients)
            found = _compared(one, other, sizes, longer, unit_axis)
            return Probed(_with_orders(net, run, batch, found, gradients=gradients), gradients)
    return Probed(None, False)


class HasSeen(Protocol):
    """What was kept of a call, with what was noted of it."""

    @property
    def seen(self) -> CallShapes: ...


def from_own_pass(kept: Mapping[str, HasSeen], count: int, unit_axis: int | Mapping[str, int] | None = None) -> Found:
    """The layouts as far as one pass of the network itself with ``count`` images tells, by name of the call."""
    found: Found = {}
    for name, one in ((name, call.seen) for name, call in kept.items()):
        reasons = []
        for leaf, shape in enumerate(one.shapes):
            reason = _unusable(one.dtypes[leaf], shape)
            axes = [axis for axis, size in enumerate(shape) if size == count]
            folded = bool(axes) and any(not size % count for size in shape[: axes[0]])  # windows or heads with images
            if not reason and (len(axes) != 1 or folded):
                what = "more than one of its axes may have" if axes else "none of its axes has"
                reason = (
                    f"it gives {_text(shape)} for {count:,} images, and {what} as many places; give batches of another "
                    "size"
                )
            if not reason:
                single = tuple(1 if axis == axes[0] else size for axis, size in enumerate(shape))
                units = _units(shape, axes[0], [], one, _asked(unit_axis, name))
                if isinstance(units, int):
                    found[name] = Layout(leaf, single, axes[0], 1, units)
                    break
                reason = units
            reasons.append(reason)
            if isinstance(reason, _Unclear):
                found[name] = reason
                break
        else:
            found[name] = reasons[0] if reasons else "it returns no tensor"
    return found


def _seen(net: nn.Module, run: Run, batch: Any, calls: Calls[CallShapes], *, gradients: bool) -> dict[str, CallShapes]:
    """What every call of a module of ``net`` returns. Where the pass fails, ``calls`` has those until then."""
    tensors = [*net.parameters(), *tensors_in(batch)]
    hollow = all(tensor.is_meta for tensor in tensors)
    with (
        torch.enable_grad() if gradients else torch.no_grad(),
        torch.device("meta") if hollow else nullcontext(),
        random_states_kept(),  # a pass may draw any
    ):
        watched(net, lambda: run(net, batch), lambda one: calls.keep(one, seen(one)), calls=calls)
    return calls.kept()


def seen(one: Returned) -> CallShapes:
    """What is noted of a call."""
    return CallShapes(
        [tuple(leaf.shape) for leaf in one.leaves], [leaf.dtype for leaf in one.leaves], one.hint, one.exact
    )


def _compared(
    one: dict[str, CallShapes],
    other: dict[str, CallShapes],
    sizes: tuple[int, int],
    longer: list[dict[str, CallShapes]],
    unit_axis: int | Mapping[str, int] | None,
) -> Found:
    found: Found = {}
    for name, first in one.items():
        if name not in other or len(other[name].shapes) != len(first.shapes):
            found[name] = "it runs with some numbers of images only"
            continue
        reasons: list[str] = []
        for leaf in range(len(first.shapes)):
            more = [seen[name].shapes[leaf] for seen in longer if name in seen and leaf < len(seen[name].shapes)]
            layout = _layout(leaf, first, other[name].shapes[leaf], sizes, more, _asked(unit_axis, name))
            if isinstance(layout, Layout):
                found[name] = layout
                break
            reasons.append(layout)
            if isinstance(layout, _Unclear):  # a later tensor would be taken for this one
                found[name] = layout
                break
        else:
            found[name] = reasons[0] if reasons else "it returns no tensor"
    return found


def _layout(
    leaf: int,
    first: CallShapes,
    shape_of_other: tuple[int, ...],
    sizes: tuple[int, int],
    longer: list[tuple[int, ...]],
    unit_axis: int | None,
) -> Layout | str:
    """The layout of one tensor, or why it has none."""
    shape = first.shapes[leaf]
    unusable = _unusable(first.dtypes[leaf], shape)
    if unusable:
        return unusable
    if len(shape_of_other) != len(shape):
        return f"it gives {_text(shape)} for {sizes[0]} images and {_text(shape_of_other)} for {sizes[1]}"
    follow = [axis for axis, size in enumerate(shape) if shape_of_other[axis] != size]
    if len(follow) != 1:
        what = "more than one of its axes follows" if follow else "none of its axes follows"
        return f"it gives {_text(shape)} for {sizes[0]} images, and {what} the number of images"
    (images,) = follow
    times, rest = divmod(shape[images], sizes[0])
    if rest or times * sizes[1] != shape_of_other[images]:
        return f"it gives {_text(shape)} for {sizes[0]} images and {_text(shape_of_other)} for {sizes[1]}"
    units = _units(shape, images, longer, first, unit_axis)
    if isinstance(units, str):
        return units
    told = first.hint is not None and first.hint.units == shape[units]
    if times > 1 and unit_axis is None and not told:
        return _Unclear(
            f"it gives {_text(shape)} for {sizes[0]} images, {times} places for each, which may be windows or heads; "
            "say with unit_axis which axis counts units"
        )
    single = tuple(times if axis == images else size for axis, size in enumerate(shape))
    return Layout(leaf, single, images, times, units)


def _unusable(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    if not dtype.is_floating_point:
        return f"its output is {str(dtype).removeprefix('torch.')}, which are no activations"
    return "" if len(shape) > 1 else f"its output has shape {_text(shape)}, in which there is no axis of units"


def _units(
    shape: tuple[int, ...], images: int, longer: list[tuple[int, ...]], seen: CallShapes, asked: int | None
) -> int | str:
    """The axis of units, or why it cannot be told. ``longer``: shapes for inputs of which one axis is longer each."""
    rest = [axis for axis in range(len(shape)) if axis != images]
    if asked is not None:
        axis = asked % len(shape) if -len(shape) <= asked < len(shape) else images
        return axis if axis != images else f"unit_axis is {asked}, which is no axis of units of {_text(shape)}"
    sure = seen.hint.axis(len(shape)) if seen.exact and seen.hint is not None and seen.hint.is_sure else None
    if sure in rest and seen.hint is not None and shape[sure] == seen.hint.units:
        return sure
    if len(rest) == 1:
        return rest[0]
    changed = [[a for a in rest if len(more) == len(shape) and more[a] != shape[a]] for more in longer]
    if any(len(axes) > 1 for axes in changed):  # one axis of what goes in is in it twice
        return (
            f"it gives {_text(shape)}, where two axes count positions, as maps of attention have; say which axis "
            "counts units with unit_axis"
        )
    left = [axis for axis in rest if not any(axis in axes for axes in changed)]
    if not left:
        return f"it gives {_text(shape)}, all axes of which follow the size of what goes in"
    told = left[0] if len(left) == 1 else _told(shape, rest, left, seen)
    return (
        _Unclear(f"it gives {_text(shape)}, of which more than one axis may count units; say which with unit_axis")
        if told is None
        else told
    )


def _told(shape: tuple[int, ...], rest: list[int], left: list[int], seen: CallShapes) -> int | None:
    """Which of the axes that are ``left`` is as long as the last module says that there are units; None if unclear.

    Where units are at another place than usual, its output must have been turned around as a whole, or averaged over
    all positions: a part of it, as of a gated neuron, may have as many positions as there were units, and several heads
    together as many units. Tokens that were made by a convolution may have a few others before them.
    """
    hint = seen.hint
    alike = [axis for axis in left if hint is not None and shape[axis] == hint.units]
    if hint is None or len(alike) != 1:
        return None
    others = math.prod(shape[axis] for axis in rest if axis != alike[0])
    is_turned = math.prod(shape) == hint.size and others != hint.units
    of_image = hint.size * math.prod(shape[axis] for axis in rest) // max(1, math.prod(shape))
    more = others - of_image // hint.units
    has_tokens = hint.last is False and rest[-1:] == alike and len(rest) == 2 and 0 <= more <= MOST
    is_usual = alike[0] == hint.axis(len(shape))
    return alike[0] if seen.exact or is_usual or is_turned or has_tokens or others == 1 else None


def _asked(unit_axis: int | Mapping[str, int] | None, name: str) -> int | None:
    return unit_axis.get(name) if isinstance(unit_axis, Mapping) else unit_axis


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "a single number"


def _longer(net: nn.Module, run: Run, batch: Any, *, gradients: bool) -> list[dict[str, CallShapes]]:
    """What a copy gives for longer inputs, one axis after the other, as far as it runs.

    The axis of channels or features can be lengthened only where no weights fix it; then the first of images counts
    channels, and of other inputs nothing is known.
    """
    by_axis: dict[int, dict[str, CallShapes]] = {}
    first = tensors_in(batch)[0]
    whole = set()
    for axis in range(1, first.ndim):
        for factor in (2, 0.5):
            calls: Calls[CallShapes] = Calls()
            try:
                by_axis[axis] = _seen(net, run, _lengthened(batch, axis, factor), calls, gradients=gradients)
                whole.add(axis)
                break
            except Exception:  # most networks take one size of some axes, and what comes before these has run
                by_axis[axis] = {name: one for name, one in calls.kept().items() if one.hint is not None}
    if len(whole) == first.ndim - 1 and first.is_floating_point():
        return [by_axis[axis] for axis in sorted(whole - {1})] if first.ndim > 3 else []
    return list(by_axis.values())


def _lengthened(batch: Any, axis: int, factor: float) -> Any:
    """Every tensor that has as many places on ``axis`` as the first one, with more or fewer of them."""
    length = tensors_in(batch)[0].shape[axis]
    wanted = max(1, int(length * factor))

    def longer(tensor: Tensor) -> Tensor:
        if tensor.ndim <= axis or tensor.shape[axis] != length:
            return tensor
        return tensor.index_select(axis, torch.arange(wanted, device=tensor.device) % length)

    return mapped(batch, longer)


def _with_orders(net: nn.Module, run: Run, batch: Any, found: Found, *, gradients: bool) -> Found:
    """The same; where an image has several places on the images' axis, their order, by running a copy with values."""
    several = [name for name, layout in found.items() if isinstance(layout, Layout) and layout.times > 1]
    if not several or any(parameter.is_meta for parameter in net.parameters()):
        return found
    count = images_in(batch) or 1
    few = max(2, min(count, 3))
    copied = with_values(net)
    changed: dict[str, Tensor] = {}
    if copied is not None:
        images = resized(batch, count, few, values=True)
        try:
            outputs = [
                _values(copied, run, given, several, found, gradients) for given in (images, _other_first(images))
            ]
            changed = {name: outputs[0][name] != outputs[1][name] for name in several}
        except Exception:  # the network needs more images, say
            changed = {}
    result: Found = dict(found)
    for name in several:
        layout = found[name]
        assert isinstance(layout, Layout)
        result[name] = _ordered(layout, changed.get(name), few)
    return result


def _ordered(layout: Layout, changed: Tensor | None, count: int) -> Layout | str:
    """With the order of the places, from which values change with the first image."""
    if changed is not None and changed.shape[layout.images] == layout.times * count:
        places = changed.movedim(layout.images, 0).flatten(1).any(1).nonzero()[:, 0].tolist()
        if places and set(places) <= set(range(layout.times)):
            return layout
        if places and all(place % count == 0 for place in places):
            return replace(layout, interleaved=True)
    return f"it has {layout.times} places for an image on the axis of images, in an order that cannot be told"


def _values(net: nn.Module, run: Run, batch: Any, names: list[str], found: Found, gradients: bool) -> dict[str, Tensor]:
    """What the layers give of a batch, as they give it."""
    calls: Calls[list[Tensor]] = Calls()
    with torch.enable_grad() if gradients else torch.no_grad(), random_states_kept():
        torch.manual_seed(0)
        watched(
            net,
            lambda: run(net, batch),
            lambda one: calls.keep(one, [leaf.detach().clone() for leaf in one.leaves]),
            {path_of(name) for name in names},
            calls,
        )
    outputs = calls.kept()
    return {name: outputs[name][layout.leaf] for name in names if isinstance(layout := found[name], Layout)}


def _other_first(batch: Any) -> Any:
    """The same inputs with other content in the place of the first image."""

    def changed(tensor: Tensor) -> Tensor:
        if not tensor.ndim or len(tensor) < 2:
            return tensor
        other = tensor.clone()
        other[0] = tensor[0].flip(0) + 1 if tensor.is_floating_point() and tensor.ndim > 1 else tensor[1]
        return other

    return mapped(batch, changed)


def images_in(batch: Any) -> int | None:
    """How many images a batch of inputs has: the length of its first tensor; None where it has none."""
    tensors = [tensor for tensor in tensors_in(batch) if tensor.ndim]
    return len(tensors[0]) if tensors else None


def resized(batch: Any, count: int, size: int, values: bool) -> Any:
    """``size`` images in the place of ``count``, with values or without."""

    def made(tensor: Tensor) -> Tensor:
        follows = tensor.ndim > 0 and len(tensor) == count
        if not values:
            shape = (size, *tensor.shape[1:]) if follows else tensor.shape
            return torch.empty(shape, dtype=tensor.dtype, device="meta")
        return tensor[torch.arange(size, device=tensor.device) % count] if follows else tensor.clone()

    return mapped(batch, made)


def mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with every tensor changed."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, dict):
        return {name: mapped(value, change) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(mapped(value, change) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(mapped(value, change) for value in batch)
    return batch
