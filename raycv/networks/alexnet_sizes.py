"""How large raycv's own AlexNets are, by arithmetic: what will be done can be said without loading PyTorch.

`raycv.networks.alexnet` says what they are made of, and a test that the two agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from raycv.networks.layer_names import LayerSize
from raycv.networks.spec import ALEXNET_LAYERS, WIDTHS, NetworkSpec

PIXELS = {"small-alexnet": 32, "alexnet": 227}  # sides of what they see, unless a user says otherwise


@dataclass(frozen=True)
class Sizes:
    """layers: layer -> (units, positions); weights: their number, buffers included.

    values: what all modules without modules of their own give for one image, as numbers. names: of the weights.
    """

    layers: dict[str, tuple[int, int]]
    weights: int
    values: int
    names: frozenset[str] = frozenset()


def layers(spec: NetworkSpec) -> dict[str, LayerSize] | None:
    """Its named layers as `raycv.networks.layers.layers_of` finds them; None for other models and images."""
    if PIXELS.get(spec.model) != spec.preprocessing.crop:
        return None
    found = {}
    for name, (inputs, units, kernel, side) in _shapes(spec).items():
        grid = (side, side) if side else ()
        axes = ", ".join(["images", "units", *map(str, grid)])
        found[name] = LayerSize(units, max(1, side * side), units * (inputs * kernel + 1), grid, axes)
    return found


def sizes(spec: NetworkSpec) -> Sizes | None:
    """Of the whole network, compared in its named layers; None for other models, layers and positions."""
    there = layers(spec)
    if there is None or spec.places or not set(spec.layers) <= set(there):
        return None
    values = 0  # of every module without modules of its own
    for layer in there.values():
        values += 2 * layer.units * layer.positions  # weights, then the ReLU
    c1, c2, _, _, c5, f6, f7, f8 = there.values()
    for layer in (c1, c2):
        values += 2 * layer.units * _pooled(layer.grid[0]) ** 2  # pooling, normalisation
    values += 2 * c5.units * _pooled(c5.grid[0]) ** 2  # pooling, flattening
    values += f6.units + f7.units - f8.units  # dropout; the logits have no ReLU
    names = [f"{name}.0" for name in ALEXNET_LAYERS[:-1]] + [ALEXNET_LAYERS[-1]]
    entries = frozenset(f"{name}.{entry}" for name in names for entry in ("weight", "bias"))
    chosen = {name: (there[name].units, there[name].positions) for name in spec.layers}
    return Sizes(chosen, sum(layer.parameters for layer in there.values()), values, entries)


def _shapes(spec: NetworkSpec) -> dict[str, tuple[int, int, int, int]]:
    """By layer inputs, units, size of a kernel, and positions a side; 0 where there are none."""
    small = spec.model == "small-alexnet"
    c1 = spec.width or WIDTHS[spec.model]
    c2, c3, hidden = round(c1 * 8 / 3), c1 * 4, round(c1 * (32 if small else 128) / 3)
    first = 32 if small else 55
    second = _pooled(first)
    third = _pooled(second)
    last = c2 * _pooled(third) ** 2
    rows = (
        (3, c1, 25 if small else 121, first),
        (c1, c2, 25, second),
        (c2, c3, 9, third),
        (c3, c3, 9, third),
        (c3, c2, 9, third),
        (last, hidden, 1, 0),
        (hidden, hidden, 1, 0),
        (hidden, spec.classes, 1, 0),
    )
    return dict(zip(ALEXNET_LAYERS, rows, strict=True))


def _pooled(side: int) -> int:
    """Positions a side after pooling over 3 at every second."""
    return (side - 3) // 2 + 1
