"""One order for every group of units of a network, so that its units lie beside those of another network.

What speaks for a pair of units is *evidence*: the similarity of the units of layers, or the agreement of the weights
around them. The orders found make Σ over all evidence of what lies beside one another large, group by group, each the
best assignment (`scipy.optimize.linear_sum_assignment`) while all others stay, again and again until none changes. With
weights this is the weight matching of Ainsworth, Hayase & Srinivasa (2022), *Git Re-Basin*, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raycv.analysis.unit_groups import Order, Orders, UnitGroup, UnitGroups, WeightBlock, Weights, reordered
from raycv.extras import needed

with needed():
    from scipy.optimize import linear_sum_assignment

SWEEPS = 30  # through all groups at most
Dimensions = Sequence[int]


class Evidence(Protocol):
    """What speaks for the pairs of units of one block."""

    @property
    def block(self) -> WeightBlock: ...

    def between(self, batch: Dimensions, pairs: Dimensions, orders: Orders) -> np.ndarray:
        """(P, K, K): for each place of the dimensions ``batch``, what speaks for every pair of places of ``pairs``.

        The second network has its places in ``orders``; along the other dimensions places beside one another count.
        """


@dataclass(frozen=True)
class WeightEvidence:
    """``scale`` times the products of the weights of one block of two networks."""

    block: WeightBlock
    a: np.ndarray
    b: np.ndarray
    scale: float

    def between(self, batch: Dimensions, pairs: Dimensions, orders: Orders) -> np.ndarray:
        """See `Evidence`."""
        a = _folded(self.block.of(self.a), batch, pairs)
        b = _folded(reordered(self.block, self.block.of(self.b), orders), batch, pairs)
        product: np.ndarray = self.scale * a @ b.transpose(0, 2, 1)
        return product


@dataclass(frozen=True)
class SimilarityEvidence:
    """The similarity (S, S) of the units of one layer in two networks; NaN where it is not defined."""

    block: WeightBlock
    similarity: np.ndarray

    def between(self, batch: Dimensions, pairs: Dimensions, orders: Orders) -> np.ndarray:
        """See `Evidence`."""
        units = self.block.of(np.arange(len(self.similarity)))
        a = _folded(units, batch, pairs)
        b = _folded(reordered(self.block, units, orders), batch, pairs)
        total = np.zeros((*a.shape[:2], a.shape[1]))
        for rest in range(a.shape[2]):
            total += np.nan_to_num(self.similarity[a[:, :, None, rest], b[:, None, :, rest]])
        return total


def _folded(values: np.ndarray, batch: Dimensions, pairs: Dimensions) -> np.ndarray:
    """``values`` of a block as (places of batch, places of pairs, all others)."""
    rest = [n for n in range(values.ndim) if n not in (*batch, *pairs)]
    sizes = [int(np.prod([values.shape[n] for n in some])) for some in (batch, pairs, rest)]
    folded: np.ndarray = values.transpose([*batch, *pairs, *rest]).reshape(sizes)
    return folded


def weight_evidence(groups: UnitGroups, a: Weights, b: Weights, *, scale: float = 1.0) -> list[WeightEvidence]:
    """Collect what the weights of two networks say for pairs of their units.

    Parameters
    ----------
    groups : UnitGroups
        Of both networks (`raycv.networks.unit_graph.tracing.unit_groups`).
    a, b : mapping of str to ndarray
        The networks' weights by name.
    scale : float, default 1.0
        By which this counts beside other evidence.

    Returns
    -------
    list of WeightEvidence
        The products of the weights of every block, for `match_groups`.

    Raises
    ------
    KeyError
        For a name that one network lacks.
    ValueError
        For weights whose shapes differ.

    Examples
    --------
    >>> import torch
    >>> from raycv.analysis import weight_evidence
    >>> from raycv.networks.unit_graph.tracing import unit_groups
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> weights = {name: value.numpy() for name, value in net.state_dict().items()}
    >>> [one.block.name for one in weight_evidence(unit_groups(net, torch.zeros(2, 4)), weights, weights)]
    ['0.weight', '0.bias', '2.weight']
    """
    first, second = ({name: np.ascontiguousarray(of[name], np.float64) for name in of} for of in (a, b))
    for name in {block.name for block in groups.blocks}:
        if first[name].shape != second[name].shape:
            raise ValueError(f"{name} has shape {first[name].shape} in a and {second[name].shape} in b")
    return [WeightEvidence(block, first[block.name], second[block.name], scale) for block in groups.blocks]


def similarity_evidence(groups: UnitGroups, layer: str, similarity: np.ndarray) -> list[SimilarityEvidence]:
    """Collect what the similarity of units says for pairs of them.

    Parameters
    ----------
    groups : UnitGroups
        Of both networks.
    layer : str
        One of ``groups.layers``; for any other there is no evidence.
    similarity : ndarray of shape (S, S)
        Of its units in the two networks; NaN, where it is not defined, counts as 0.

    Returns
    -------
    list of SimilarityEvidence
        For `match_groups`.

    Raises
    ------
    ValueError
        For another number of units.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from raycv.analysis import similarity_evidence
    >>> from raycv.networks.unit_graph.tracing import unit_groups
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> groups = unit_groups(net, torch.zeros(2, 4))
    >>> len(similarity_evidence(groups, "1", np.eye(3))), len(similarity_evidence(groups, "2", np.eye(2)))  # fixed
    (1, 0)
    """
    blocks = groups.layers.get(layer, ())
    units = sum(int(np.prod(block.shape)) for block in blocks)
    if blocks and similarity.shape != (units, units):
        raise ValueError(f"{layer} has {units} units and similarities are of shape {similarity.shape}")
    return [
        SimilarityEvidence(block, similarity) for block in blocks if any(group is not None for group in block.groups)
    ]


def match_groups(groups: UnitGroups, evidence: Iterable[Evidence], *, seed: int = 0) -> dict[int, Order]:
    """Find the order of every group of units in a second network that brings them beside those of the first.

    The orders make the sum of all evidence of what lies beside one another large, group by group, each the best
    assignment while all others stay, until none changes. With weights this is the weight matching of Ainsworth, Hayase
    & Srinivasa (2022), *Git Re-Basin*, algorithm 1.

    Parameters
    ----------
    groups : UnitGroups
        Of both networks.
    evidence : iterable of Evidence
        From `weight_evidence`, `similarity_evidence`, or both.
    seed : int, default 0
        Of the order in which groups are taken, on which the result depends where evidence concerns several groups.

    Returns
    -------
    dict of int to ndarray
        By group which old place stands at each new one, for ``groups.permuted``. Groups of which no evidence speaks
        keep their order.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from raycv.analysis import match_groups, weight_evidence
    >>> from raycv.networks.unit_graph.tracing import unit_groups
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> groups = unit_groups(net, torch.zeros(2, 4))
    >>> weights = {name: value.numpy() for name, value in net.state_dict().items()}
    >>> other = groups.permuted(weights, {0: np.array([2, 0, 1])})               # the same network, renumbered
    >>> match_groups(groups, weight_evidence(groups, weights, other))[0].tolist()
    [1, 2, 0]
    """
    about: dict[int, list[Evidence]] = {number: [] for number in range(len(groups.groups))}
    for one in evidence:
        for group in {held for held in one.block.groups if held is not None}:
            about[group].append(one)
    orders = {number: group.unchanged() for number, group in enumerate(groups.groups)}
    inner = _inner(groups.groups)
    taken = [number for number in about if about[number]]
    generator = np.random.default_rng(seed)
    for _ in range(SWEEPS):
        before = {number: orders[number] for number in taken}
        for number in generator.permutation(taken).tolist():
            _improve(number, inner[number], about[number], orders, groups.groups[number])
        if all(np.array_equal(before[number], orders[number]) for number in taken):
            break
    return orders


def _inner(groups: Sequence[UnitGroup]) -> list[list[int]]:
    """By group the groups that have an order of their own for each of its places, and for nothing else's."""
    return [
        [n for n, group in enumerate(groups) if [parent for _, parent in group.parents] == [number]]
        for number in range(len(groups))
    ]


def _improve(
    number: int, inner: list[int], about: Sequence[Evidence], orders: dict[int, Order], group: UnitGroup
) -> None:
    """Give one group, and those within it, the best order while all others stay."""
    free = {other: order for other, order in orders.items() if other not in (number, *inner)}
    batches = int(np.prod([size for size, _ in group.parents]))
    gain = np.zeros((batches, group.size, group.size))
    within: dict[int, np.ndarray] = {}  # by inner group (size, size, k, k), with every pair of places of this one
    for one in about:
        block = one.block
        for at in [n for n, held in enumerate(block.groups) if held == number]:
            child = next((n for n, held in enumerate(block.groups) if held in inner and at in block.outer[n]), None)
            if child is None:
                gain += one.between(block.outer[at], [at], free)
            else:
                held, size = block.groups[child], block.shape[child]
                pairs = one.between([], [at, child], free).reshape(group.size, size, group.size, size)
                within[held] = within.get(held, 0) + pairs.transpose(0, 2, 1, 3)  # type: ignore[index,arg-type]
    best = {held: _each_best(pairs) for held, pairs in within.items()}
    for held, found in best.items():
        gain += np.take_along_axis(within[held], found[..., None], -1).sum((-1, -2))
    orders[number] = _each_best(gain).reshape(orders[number].shape)
    for held, found in best.items():
        orders[held] = found[np.arange(group.size), orders[number]]


def _each_best(gain: np.ndarray) -> np.ndarray:
    """The best assignment (..., n) of columns to the rows of every matrix of ``gain`` (..., n, n)."""
    flat = gain.reshape(-1, *gain.shape[-2:])
    found = np.stack([linear_sum_assignment(matrix, maximize=True)[1] for matrix in flat])
    return found.reshape(gain.shape[:-1])
