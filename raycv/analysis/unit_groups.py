"""Groups of units that a network can reorder without a change of what it computes, and how to reorder them.

A *group* is a set of places that occur along one or more axes of weights: the channels of a convolution, which are also
the input channels of the next and the places of a normalisation's weights between them; all channels of a residual
stream; the heads of an attention, and within each head the dimensions in which it compares queries and keys. An inner
group, as that of the dimensions, has an order of its own for each place of its *parents* (the head).

Every axis of a weight is a product or a sequence of groups, so a weight consists of *blocks*, strided views into it,
each with one dimension per group. Which groups a network has is found by `raycv.networks.unit_graph`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

Weights = Mapping[str, np.ndarray]  # the arrays of a network by name
Order = np.ndarray  # (*parents' sizes, size) int64: which old place stands at each new one
Orders = Mapping[int, Order]  # by group; a group that is not there keeps its order


@dataclass(frozen=True)
class UnitGroup:
    """``size`` places whose order is free, for each place of the groups or fixed axes ``parents``.

    ``nearly``: an operation on the way mixes neighbours a little, as local response normalisation does, so that another
    order changes the logits a little. ``parents``: sizes of the outer axes, with the group where the axis is one.
    """

    size: int
    parents: tuple[tuple[int, int | None], ...] = ()
    nearly: bool = False

    def unchanged(self) -> Order:
        """The order as it is."""
        around = tuple(size for size, _ in self.parents)
        return np.broadcast_to(np.arange(self.size), (*around, self.size)).copy()

    def drawn(self, generator: np.random.Generator) -> Order:
        """A random order."""
        return generator.permuted(self.unchanged(), axis=-1)


@dataclass(frozen=True)
class WeightBlock:
    """A strided view into one array: where it begins, its shape and strides, all counted in elements.

    groups: per dimension the group whose places it counts, or None where the order is fixed. outer: per dimension,
    which dimensions of the block are its group's parents. summed: per dimension, whether the network sums over it: it
    then counts what goes into a layer, else what comes out.
    """

    name: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    groups: tuple[int | None, ...]
    outer: tuple[tuple[int, ...], ...]
    summed: tuple[bool, ...]

    def of(self, array: np.ndarray) -> np.ndarray:
        """The block of an array in C's order, as a view. Raises ValueError for one in another order or too small."""
        if not array.flags.c_contiguous:
            raise ValueError(f"{self.name} is not in C's order, so its blocks cannot be viewed")
        steps = zip(self.shape, self.strides, strict=True)
        if array.size <= self.offset + sum((size - 1) * stride for size, stride in steps):
            raise ValueError(f"{self.name} of shape {array.shape} is too small for a block of shape {self.shape}")
        flat = array.reshape(-1)[self.offset :]
        return as_strided(flat, self.shape, [stride * array.itemsize for stride in self.strides])


@dataclass(frozen=True)
class UnitGroups:
    """The groups of a network.

    blocks: of all its weights that have any. layers: of the units of every layer that has units, as blocks of an array
    (S,). upstream: the weights that a layer's units depend on. fixed: why no unit of a weight's first axis can be
    moved, by the weight's name; the image and the logits are not among them.
    """

    groups: tuple[UnitGroup, ...]
    blocks: tuple[WeightBlock, ...]
    layers: Mapping[str, tuple[WeightBlock, ...]]
    upstream: Mapping[str, frozenset[str]]
    fixed: Mapping[str, str]

    def drawn(self, seed: int) -> dict[int, Order]:
        """A random order of every group."""
        generator = np.random.default_rng(seed)
        return {number: group.drawn(generator) for number, group in enumerate(self.groups)}

    def permuted(self, weights: Weights, orders: Orders) -> dict[str, np.ndarray]:
        """A copy of ``weights`` with the places of every group in another order, throughout the network."""
        return _permuted(self.blocks, weights, orders)

    def order_of(self, layer: str, orders: Orders) -> np.ndarray:
        """(S,): which old unit of ``layer`` stands at each new place. Raises KeyError for a layer without units."""
        units = sum(int(np.prod(block.shape)) for block in self.layers[layer])
        return _permuted(self.layers[layer], {layer: np.arange(units)}, orders)[layer]


def _permuted(blocks: Sequence[WeightBlock], weights: Weights, orders: Orders) -> dict[str, np.ndarray]:
    result = {name: np.array(array, order="C") for name, array in weights.items()}
    for block in blocks:
        if any(group in orders for group in block.groups):
            block.of(result[block.name])[...] = reordered(
                block, block.of(np.ascontiguousarray(weights[block.name])), orders
            )
    return result


def reordered(block: WeightBlock, values: np.ndarray, orders: Orders) -> np.ndarray:
    """``values`` of a block with every dimension in its group's order."""
    # Outer dimensions first: the order of an inner one is that for the new place of the outer one.
    for at in sorted(range(len(block.shape)), key=lambda n: len(block.outer[n])):
        order = orders.get(block.groups[at]) if block.groups[at] is not None else None  # type: ignore[arg-type]
        if order is None:
            continue
        if order.ndim == 1:
            values = values.take(order, axis=at)
        else:
            values = np.take_along_axis(values, _spread(order, (*block.outer[at], at), len(block.shape)), axis=at)
    return values


def _spread(order: np.ndarray, at: tuple[int, ...], dimensions: int) -> np.ndarray:
    """``order``, whose axes are the dimensions ``at`` of a block, with all dimensions."""
    shape = [1] * dimensions
    moved = order.transpose(np.argsort(at))
    for n, size in zip(sorted(at), moved.shape, strict=True):
        shape[n] = size
    return moved.reshape(shape)
