"""How large a network is, found before its weights take any memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from raycv.errors import UserError
from raycv.memory import of_machine
from raycv.networks import alexnet_sizes
from raycv.networks.alexnet_sizes import Sizes
from raycv.networks.layer_names import LayerSize
from raycv.networks.spec import NetworkSpec, Place
from raycv.networks.tokens import CLASS, PATCHES, before_patches, part_among


def sizes_of(spec: NetworkSpec) -> Sizes:
    """The sizes of the network of ``spec``. Raises UserError where it cannot be built or a layer cannot be tapped."""
    try:
        return _sizes_of(spec.model_copy(update={"seed": 0, "name": "net"}))  # once for all that are built alike
    except UserError:  # to be said of this one by its name
        return _sizes_of(spec.model_copy(update={"seed": 0}))


@lru_cache
def _sizes_of(spec: NetworkSpec) -> Sizes:
    if spec.is_recorded:
        from raycv.networks.layers import layers_of  # which needs PyTorch

        there = layers_of(spec)
        layers = {layer: _recorded(spec.place(layer), there) for layer in spec.layers}
        return Sizes(layers, weights=0, values=0)
    known = alexnet_sizes.sizes(spec)
    if known is not None:
        return known
    from raycv.networks.measured_sizes import measured  # which needs PyTorch

    return measured(spec)


def widths_of(specs: Sequence[NetworkSpec]) -> dict[str, list[int]]:
    """Units of each network by layer; the networks have the same layers."""
    sizes = [sizes_of(spec).layers for spec in specs]
    return {layer: [of_net[layer][0] for of_net in sizes] for layer in specs[0].layers}


def _prepared_alike(a: NetworkSpec, b: NetworkSpec) -> bool:
    return a.preprocessing == b.preprocessing or not (a.sees_images and b.sees_images)


def _recorded(place: Place, there: Mapping[str, LayerSize]) -> tuple[int, int]:
    """Units and positions of a layer of a recording."""
    part = part_among(place.module, there)
    layer = there[part.path]
    few = (before_patches(layer.positions) or 0) if part.tokens == PATCHES else 0
    own = 1 if part.tokens == CLASS else layer.positions - few
    return layer.units, own if place.grid is None else math.prod(place.grid)


def check_sizes(specs: Sequence[NetworkSpec]) -> None:
    """Raise UserError for a network that this machine cannot hold, or layers that cannot be compared."""
    memory = of_machine()
    for spec in specs:
        weights = sizes_of(spec).weights
        if 3 * 4 * weights > memory:
            of_width = f" of width {spec.width:,}" if spec.width else ""
            raise UserError(
                f"{spec.name} ({spec.model}{of_width}, {spec.classes:,} classes) has {weights / 1e9:.1f} billion "
                f"weights; with gradients and momentum they take {12 * weights / 1e9:,.0f} GB and this machine has "
                f"{memory / 1e9:.0f} GB of memory; choose a smaller network."
            )
    first = sizes_of(specs[0]).layers
    for spec in specs[1:]:
        for layer, (_, positions) in sizes_of(spec).layers.items():
            here, there = f"{spec.name} ({spec.model})", f"{specs[0].name} ({specs[0].model})"
            if positions > 1 and spec.place(layer).grid is None and not _prepared_alike(spec, specs[0]):
                raise UserError(
                    f"The networks differ: {here} and {there} prepare images differently, so the same position would "
                    "not show the same pixels; compare networks that prepare them alike, or compare with --positions "
                    "resample or --positions mean."
                )
            if positions != first[layer][1]:
                raise UserError(
                    f"Layer {layer} has {positions} positions in {here} and {first[layer][1]} in {there}; networks can "
                    "be compared only in layers of the same spatial extent. Name such layers with --layers, or compare "
                    "with --positions resample or --positions mean."
                )
