"""Activations of PyTorch networks of any kind, batch by batch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from raycv import devices
from raycv.api.calling import caller, moved
from raycv.api.masks import masked_mean
from raycv.errors import UserError
from raycv.networks.layer_names import nearest
from raycv.networks.layouts import Found, Layout, from_own_pass, images_in, probe, seen
from raycv.networks.module_paths import CALL, path_of, second_paths, unwrapped
from raycv.networks.rectified import Rectified
from raycv.networks.taps import Kept, Made, Tapped, laid_out, name_in, record, record_as
from raycv.networks.tokens import Part, Prefix, after_choice, part_of, prefixes_of, squared, taken
from raycv.networks.watching import Returned, tensors_in

AT_ONCE = 2**17  # activations that are taken to float64 at once
TOLERANCE = 1e-3  # of the largest activation; two passes of a network on a GPU differ by less


class Forward:
    """A network and the layers of it that are compared, in the order in which they run.

    ``left_out``: by layer of the network, why it is none. ``prefixes``: by layer, what stands
    before its patches, as the model says. Both are known after the first batch.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        patterns: Sequence[str] | None,
        how: Callable[[nn.Module, Any], Any] | None,
        unit_axis: int | Mapping[str, int] | None,
        means: bool = False,
        ours: Collection[str] = (),
    ) -> None:
        """``means``: only the means over positions are wanted, which are taken as layers return.

        ``ours``: parts of a batch that are not for the network, but for one that takes them.
        """
        check(name, net)
        self._means = means
        self.name, self.net, self._patterns, self._unit_axis = name, unwrapped(net), patterns, unit_axis
        self._call = caller(name, net, how, ours)
        self._sizes: list[tuple[int, ...]] = []  # of what the first batch has of each sample
        self._is_longer = False  # whether those of this batch are others, as of longer or shorter sequences
        self._mask: Tensor | None = None  # of this batch
        self._layers: dict[str, Part] = {}
        self._by_path: dict[str, dict[str, Part]] = {}
        self._layouts: Found | None = None
        self._gradients, self._batches = False, 0
        self._is_checked = False  # for random numbers
        self._is_lazy = any(nn.parameter.is_lazy(parameter) for parameter in self.net.parameters())
        self.left_out: dict[str, str] = {}
        self._told: dict[str, Prefix] = {}  # what the model says of each layer's tokens
        self.prefixes: dict[str, Prefix] = {}

    def __call__(self, batch: Any, mask: Tensor | None = None) -> dict[str, Tapped]:
        """The activations (B, S, ...) of every layer, from one pass, and those before its non-linearity.

        The latter where all positions of a layer are taken as they are, and its non-linearity is known
        (`raycv.networks.nonlinearity`). ``mask`` (B, T): which positions of sequences count in means.
        """
        count = images_in(batch)
        if not count:
            raise UserError(f"A batch of data has no tensor of images for {self.name}; give batches with one or more.")
        if not self._batches:
            probed = probe(self.net, lambda net, one: self._call(net, moved(one, net)), batch, self._unit_axis)
            self._gradients = probed.gradients
            if probed.layers is not None:
                self._choose(probed.layers)
        sizes = [tuple(tensor.shape[1:]) for tensor in tensors_in(batch)]
        self._sizes = self._sizes or sizes
        self._is_longer, self._mask = sizes != self._sizes, mask
        states = random_states(), _own_random_states(self.net)
        activations = self._activations(batch, count)
        if self._batches or not self._is_lazy:  # which draws its weights in the first pass
            self._check_once(states, batch, count, activations)
        self._batches += 1
        return activations

    def _activations(self, batch: Any, count: int) -> dict[str, Tapped]:
        """Of every layer, or their means over positions, from one pass."""
        if self._layers and self._means:  # taken at once, as the activations of many layers fill the memory
            found = self._pass(batch, record_as, lambda one: self._means_of(one, count))
            return {layer: Tapped(self._ran(found, layer, part)[layer], None) for layer, part in self._layers.items()}
        kept = self._pass(batch, record, self._layouts, None if self._means else Rectified())
        if not self._layers:
            self._choose(from_own_pass(kept, count, self._unit_axis))
        found = self._of(kept, count)
        if not self._means:
            return found
        return {layer: Tapped(means(one.values, self._mask, layer), None) for layer, one in found.items()}

    def _means_of(self, one: Returned, count: int) -> dict[str, Tensor]:
        """By layer, of what a call has returned."""
        assert self._layouts is not None
        path = name_in(self._layouts, one)
        layers = self._by_path.get(path)
        if not layers:
            return {}
        kept = Kept({n: leaf.detach() for n, leaf in enumerate(one.leaves)}, None, seen(one))
        values = laid_out(path, kept, self._layout(path, kept), count).values
        return {
            layer: means(taken(part, values, self._told[layer]), self._mask, layer) for layer, part in layers.items()
        }

    def _layout(self, path: str, kept: Kept) -> Layout | str:
        """Of what a layer gave in this batch."""
        assert self._layouts is not None
        layout = self._layouts[path]
        if isinstance(layout, str) or not self._is_longer or layout.leaf not in kept.leaves:
            return layout
        return layout.along(kept.leaves[layout.leaf])

    def _pass(self, batch: Any, recorded: Callable[..., tuple[Any, dict[str, Made]]], *how: Any) -> dict[str, Made]:
        """What is ``recorded`` of the modules that are compared, or may be."""
        paths = {path_of(part.path) for part in self._layers.values()} or None
        given = moved(batch, self.net)
        try:
            with torch.enable_grad() if self._gradients else torch.no_grad():
                return recorded(self.net, lambda: self._call(self.net, given), paths, *how)[1]
        except UserError:
            raise
        except Exception as error:
            said = str(error).strip().split("\n")[0].rstrip(".")
            raise UserError(
                f"The forward of {self.name} fails on batch {self._batches + 1} of data: "
                f"{type(error).__name__}{': ' * bool(said)}{said}."
            ) from error

    def _choose(self, layouts: Found) -> None:
        there = [layer for layer, layout in layouts.items() if isinstance(layout, Layout)]
        self.left_out = {layer: layout for layer, layout in layouts.items() if isinstance(layout, str)}
        self._layers = chosen(self.name, there, self._patterns, self.left_out, second_paths(self.net))
        self._layouts = layouts
        for layer, part in self._layers.items():
            self._by_path.setdefault(part.path, {})[layer] = part
        grids = {layer: layout.grid for layer, layout in layouts.items() if isinstance(layout, Layout)}
        prefixes = prefixes_of(self.net, self._by_path, grids)
        self._told = {layer: prefixes[part.path] for layer, part in self._layers.items()}
        self.prefixes = {layer: after_choice(self._layers[layer], told) for layer, told in self._told.items()}

    def _of(self, kept: Mapping[str, Kept], count: int) -> dict[str, Tapped]:
        activations = {}
        for layer, part in self._layers.items():
            own = self._ran(kept, layer, part)
            whole = laid_out(part.path, own, self._layout(part.path, own), count)
            values = taken(part, whole.values, self._told[layer])
            activations[layer] = Tapped(values, None if part.tokens else whole.before)
        return activations

    def _ran(self, found: Mapping[str, Made], layer: str, part: Part) -> Made:
        """What there is of a layer. Raises UserError where it has not run."""
        if part.path not in found:
            raise UserError(
                f"Layer {layer!r} of {self.name} has not run in batch {self._batches + 1} of data, and ran before; "
                "compare layers that run in every pass."
            )
        return found[part.path]

    def _check_once(self, states: Any, batch: Any, count: int, activations: Mapping[str, Tapped]) -> None:
        """Raise UserError where random numbers, which the first pass has drawn, change what is compared."""
        if self._is_checked:
            return
        self._is_checked = True
        after = random_states()
        if alike(states, (after, _own_random_states(self.net))):
            return
        again = self._activations(batch, count)
        set_random_states(after)
        for layer, (values, _) in activations.items():
            if (values - again[layer].values).abs().max() > TOLERANCE * values.abs().max():
                raise UserError(
                    f"Layer {layer!r} of {self.name} depends on random numbers that its forward draws in evaluation "
                    "mode, as F.dropout does without training=self.training; switch that off or compare layers before."
                )


def check(name: str, net: nn.Module) -> None:
    """Raise UserError for a network that has no values, or no modules that can be watched."""
    if any(parameter.is_meta for parameter in net.parameters()):
        raise UserError(f"Network {name} is on the device meta and has no values; load its weights first.")
    if any(isinstance(module, torch.jit.ScriptModule) for module in net.modules()):
        raise UserError(
            f"Network {name} is compiled by TorchScript, which does not show what its layers give; give the module "
            "that it was made of."
        )


def chosen(
    net: str,
    there: Sequence[str],
    patterns: Sequence[str] | None,
    left_out: Mapping[str, str] | None = None,
    second: Mapping[str, str] | None = None,
) -> dict[str, Part]:
    """The layers that match any of ``patterns``, by name, in the order of ``there``; ``*`` also stands for dots.

    None means all. A name that is there means that layer, whatever it holds; otherwise a pattern may end in ":class" or
    ":patches", and so do its layers then. ``left_out``: others, with the reason. ``second``: further names of modules,
    which count where they are written out. Raises UserError for a pattern that matches none.
    """
    layers: dict[str, Part] = {}
    if patterns is None:
        return {layer: Part(layer, "") for layer in there}
    for pattern in patterns:
        if pattern in there:
            layers[pattern] = Part(pattern, "")
            continue
        path, tokens = part_of(pattern)
        first = (second or {}).get(path_of(path), path_of(path)) + path[len(path_of(path)) :]
        names = {path: first} if first in there else {layer: layer for layer in there if fnmatchcase(layer, path)}
        if not names:
            raise UserError(_no_layer(net, path, first, there, left_out or {}))
        layers |= {f"{layer}:{tokens}" if tokens else layer: Part(source, tokens) for layer, source in names.items()}
    return dict(sorted(layers.items(), key=lambda item: there.index(item[1].path)))


def _no_layer(net: str, path: str, first: str, there: Sequence[str], left_out: Mapping[str, str]) -> str:
    calls = [layer for layer in (*there, *left_out) if path_of(layer) == first and layer != first]
    if calls:
        return (
            f"Layer {path!r} of {net} runs {len(calls)} times in one forward pass; name one of its calls, "
            f"{path}{CALL}1 to {path}{CALL}{len(calls)}, or the block around it."
        )
    for layer, reason in left_out.items():
        if layer == first or fnmatchcase(layer, path):
            return f"Layer {layer!r} of {net} cannot be compared: {reason}."
    if not there:
        return f"{net} has no layer {path!r}, nor any other that can be compared."
    return f"{net} has no layer {path!r}; the nearest are {', '.join(nearest(path, there))}."


def random_states() -> list[Any]:
    """Those of all generators that a forward may draw from without having its own."""
    return [devices.random_states(), np.random.get_state(), random.getstate()]  # noqa: NPY002


def set_random_states(states: list[Any]) -> None:
    devices.set_random_states(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    random.setstate(states[2])


def _own_random_states(net: nn.Module) -> list[str]:
    """Those of the generators that modules of a network keep, as text."""
    kept = [value for module in net.modules() for value in vars(module).values()]
    return [
        *(str(one.get_state().tolist()) for one in kept if isinstance(one, torch.Generator)),
        *(repr(one.bit_generator.state) for one in kept if isinstance(one, np.random.Generator)),
        *(str(one.getstate()) for one in kept if isinstance(one, random.Random)),
    ]


def alike(a: Any, b: Any) -> bool:
    """Whether two values, or lists of such, hold the same numbers."""
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(alike(one, other) for one, other in zip(a, b, strict=True))
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def on_one_grid(
    activations: Mapping[str, Tensor],
    positions: str,
    prefixes: Mapping[str, Prefix] | None = None,
    mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """The members of one comparison at the same positions; see `raycv.compare`. Raises UserError where they differ.

    ``prefixes``: of those of networks, the tokens that stand before the patches. ``mask``: which positions of sequences
    count in means.
    """
    if positions == "resample" and len({values.shape[2:] for values in activations.values()}) > 1:
        activations = {name: squared(values, (prefixes or {}).get(name)) for name, values in activations.items()}
    grids = {name: tuple(values.shape[2:]) for name, values in activations.items()}
    if positions == "mean":
        return {name: means(values, mask, name) for name, values in activations.items()}
    if len(set(grids.values())) == 1:
        return dict(activations)
    if positions == "resample" and all(len(grid) == 2 for grid in grids.values()):
        height, width = (min(grid[axis] for grid in grids.values()) for axis in (0, 1))
        return {name: _resampled(v, (height, width)) for name, v in activations.items()}
    text = ", ".join(f"{name} {' x '.join(map(str, grid)) or 'none'}" for name, grid in grids.items())
    advice = 'positions="mean"' if positions == "resample" else 'positions="resample" or positions="mean"'
    raise UserError(f"The layers have different positions: {text}; compare them with {advice}.")


def means(values: Tensor, mask: Tensor | None = None, name: str = "") -> Tensor:
    """A copy of activations (n, S), or of their means over positions in float64, of a few images at a time.

    ``mask`` (n, T): of the layer ``name``, which positions count.
    """
    if values.ndim <= 2:
        return values.clone()
    if mask is not None:
        return masked_mean(name, values, mask)
    step = max(1, AT_ONCE // max(1, math.prod(values.shape[1:])))
    parts = (values[start : start + step] for start in range(0, len(values), step))
    return torch.cat([devices.in_float64(part).flatten(2).mean(2) for part in parts])


def _resampled(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Averages over areas, in float64: of units whose mean is far above their spread float32 would lose digits."""
    return values if tuple(values.shape[2:]) == grid else adaptive_avg_pool2d(devices.in_float64(values), grid)
