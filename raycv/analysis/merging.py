"""Networks merged into one, from their weights and the moments of their units alone.

*Interpolation*: Σ w_i θ_i with shares w_i that add up to 1. On the way between two networks the variance of the units
collapses, because units that should be the same are not quite. REPAIR (Jordan, Sedghi, Saukh, Entezari & Neyshabur,
2022, *REPAIR: REnormalizing Permuted Activations for Interpolation Repair*) gives every pre-activation of the merged
network the mean and the standard deviation that the networks have on average.

*In closed form*: where a layer's inputs are what the networks' inputs are on average, its pre-activations are
z = Σ w_i z_i, with mean Σ w_i μ_i and variance wᵀCw; between two networks of shares 1 − α and α and a correlation ρ,
σ² = (1−α)²σ₁² + α²σ₂² + 2α(1−α)ρσ₁σ₂.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raycv.analysis.unit_groups import UnitGroups, WeightBlock, Weights


@dataclass(frozen=True)
class Site:
    """Moments of the units of one layer before its non-linearity: mean (N, S), covariance (N, N, S) of N networks.

    Entry (i, j, s) is the covariance of unit s of network i with unit s of network j.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def wanted(self, shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (S,) that the networks have on average."""
        w = np.asarray(shares)
        return w @ self.mean, w @ np.sqrt(np.einsum("iis->is", self.covariance).clip(0))

    def expected(self, shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (S,) of Σ w_i z_i."""
        w = np.asarray(shares)
        return w @ self.mean, np.sqrt(np.einsum("i,ijs,j->s", w, self.covariance, w).clip(0))


def gain(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """``wanted`` over ``found`` standard deviations (S,); 1 for units that are constant or nearly so."""
    usable = found > 1e-6 * max(float(found.max(initial=0)), 1e-30)
    ratio: np.ndarray = np.divide(wanted, found, out=np.ones_like(found), where=usable)
    return ratio


def interpolated(networks: Sequence[Weights], shares: Sequence[float]) -> dict[str, np.ndarray]:
    """Interpolate the weights of networks, Σ w_i θ_i.

    Parameters
    ----------
    networks : sequence of mapping of str to ndarray
        Weights by name, the same names and shapes in all.
    shares : sequence of float
        The w_i, one a network; they add up to 1, or outputs are scaled.

    Returns
    -------
    dict of str to ndarray
        Of the first network's types. What is not a floating-point number, such as a count of batches, is the first
        network's.

    Raises
    ------
    ValueError
        For another number of shares than of networks, and for arrays of different shapes.
    KeyError
        For a name that one network lacks.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import interpolated
    >>> interpolated([{"weight": np.zeros(2)}, {"weight": np.ones(2)}], [0.75, 0.25])["weight"].tolist()
    [0.25, 0.25]
    """
    result = {}
    for name, first in networks[0].items():
        if len({one[name].shape for one in networks}) > 1:
            raise ValueError(f"{name} has other shapes in other networks, so that it cannot be interpolated")
        if first.dtype.kind == "f":
            total = sum(share * one[name].astype(np.float64) for share, one in zip(shares, networks, strict=True))
            result[name] = np.asarray(total).astype(first.dtype, order="C")
        else:
            result[name] = first.copy()
    return result


def trunk_and_head(merged: Weights, own: Weights, trunk: Collection[str]) -> dict[str, np.ndarray]:
    """A network with the merged weights of the ``trunk`` and its own elsewhere."""
    return {name: merged[name] if name in trunk else own[name] for name in own}


@dataclass(frozen=True)
class Zip:
    """How the 2n units of one group in two networks become n, and how each of the 2n is read from these.

    together: (2, n, n): merged unit · unit of the first and of the second network; every row adds up to 1 over both.
    apart: (2, n, n): unit · merged unit, 1 where the unit went.
    """

    together: np.ndarray
    apart: np.ndarray


def zipped_units(within_a: np.ndarray, between: np.ndarray, within_b: np.ndarray) -> Zip:
    """Pair the most similar of all 2n units, within and across the networks, until n pairs are left.

    Greedy, each unit in one pair, as in Stoica, Bolya, Bjorner, Hearn & Hoffman (2023), *ZipIt! Merging Models from
    Different Tasks without Training*, section 4.1. Similarities (n, n) each; undefined ones (NaN) come last.
    """
    n = len(between)
    similarity = np.block([[within_a, between], [between.T, within_b]])
    rows, columns = np.triu_indices(2 * n, 1)
    values = np.nan_to_num(similarity[rows, columns], nan=-2.0)
    together, apart = np.zeros((n, 2 * n)), np.zeros((2 * n, n))
    free, merged = np.ones(2 * n, bool), 0
    for place in np.argsort(-values, kind="stable"):
        pair = [rows[place], columns[place]]
        if free[pair].all():
            together[merged, pair], apart[pair, merged], free[pair] = 0.5, 1.0, False
            merged += 1
    return Zip(np.stack(np.split(together, 2, axis=1)), np.stack(np.split(apart, 2, axis=0)))


def can_be_zipped(groups: UnitGroups, trunk: Collection[str]) -> set[int]:
    """The groups that stand alone (no group within them, none around them) and whose units the trunk alone makes."""
    structured = {number for number, group in enumerate(groups.groups) if group.parents}
    structured |= {parent for group in groups.groups for _, parent in group.parents if parent is not None}
    for block in groups.blocks:
        made = [
            group for group, summed in zip(block.groups, block.summed, strict=True) if group is not None and not summed
        ]
        if block.name not in trunk or len(made) > 1:
            structured.update(made)
    return set(range(len(groups.groups))) - structured


def zipped(
    groups: UnitGroups, a: Weights, b: Weights, zips: Mapping[int, Zip], trunk: Collection[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The networks a and b with a common ``trunk`` of zipped units; each reads them with the rest of its own weights.

    Groups without a `Zip` are averaged as they lie. Where all weights are in the trunk, both are the same network.
    """
    average = interpolated([a, b], [0.5, 0.5])
    results = []
    for side, own in enumerate((a, b)):
        result = {name: np.array(value, order="C") for name, value in trunk_and_head(average, own, trunk).items()}
        for block in groups.blocks:
            if not any(group in zips for group in block.groups):
                continue
            parts = [block.of(np.ascontiguousarray(one[block.name], np.float64)) for one in (a, b)]
            if block.name in trunk:
                made = [_applied(block, values, zips, n) for n, values in enumerate(parts)]
                one = made[0] + made[1]
                if not _makes_zipped(block, zips):
                    one = one / 2
            else:
                one = _applied(block, parts[side], zips, side)
            block.of(result[block.name])[...] = one
        results.append(result)
    return results[0], results[1]


def _makes_zipped(block: WeightBlock, zips: Mapping[int, Zip]) -> bool:
    return any(group in zips and not summed for group, summed in zip(block.groups, block.summed, strict=True))


def _applied(block: WeightBlock, values: np.ndarray, zips: Mapping[int, Zip], network: int) -> np.ndarray:
    """A network's block in terms of merged units: those it makes are put together, those it sums over are read."""
    for at, (group, summed) in enumerate(zip(block.groups, block.summed, strict=True)):
        if group in zips:
            matrix = zips[group].apart[network].T if summed else zips[group].together[network]  # type: ignore[index]
            values = np.moveaxis(np.tensordot(matrix, values, axes=(1, at)), 0, at)
    return values


def zipped_mean(groups: UnitGroups, layer: str, values: Sequence[np.ndarray], zips: Mapping[int, Zip]) -> np.ndarray:
    """Compute what the merged units of a layer have of values of the units of two networks.

    Parameters
    ----------
    groups : UnitGroups
        Of both networks (`raycv.networks.unit_graph.tracing.unit_groups`).
    layer : str
        One of ``groups.layers``.
    values : two ndarrays of shape (S,)
        Of the first and the second network's units.
    zips : mapping of int to Zip
        By group, how units were merged (`raycv.analysis.merging.zipped_units`). Other groups are averaged as they lie.

    Returns
    -------
    ndarray of shape (S,)
        The mean over what went into each merged unit.

    Raises
    ------
    KeyError
        For a layer without units.
    ValueError
        For values of another number of units.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from raycv.analysis import zipped_mean
    >>> from raycv.analysis.merging import zipped_units
    >>> from raycv.networks.unit_graph.tracing import unit_groups
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU(), torch.nn.Linear(2, 3))
    >>> groups = unit_groups(net, torch.zeros(2, 4))
    >>> pairs = zipped_units(np.eye(2), np.array([[0.1, 0.9], [0.8, 0.2]]), np.eye(2))     # 0 with 1, and 1 with 0
    >>> zipped_mean(groups, "1", [np.array([1.0, 2.0]), np.array([20.0, 10.0])], {0: pairs}).tolist()
    [5.5, 11.0]
    """
    blocks = groups.layers[layer]
    units = sum(int(np.prod(block.shape)) for block in blocks)
    if any(one.shape != (units,) for one in values):
        raise ValueError(f"{layer} has {units} units and values are of shapes {[one.shape for one in values]}")
    result: np.ndarray = (values[0] + values[1]) / 2
    for block in blocks:
        if any(group in zips for group in block.groups):
            made = [
                _applied_to_layer(block, block.of(np.ascontiguousarray(one)), zips, n) for n, one in enumerate(values)
            ]
            block.of(result)[...] = made[0] + made[1]
    return result


def _applied_to_layer(block: WeightBlock, values: np.ndarray, zips: Mapping[int, Zip], network: int) -> np.ndarray:
    for at, group in enumerate(block.groups):
        if group in zips:
            values = np.moveaxis(np.tensordot(zips[group].together[network], values, axes=(1, at)), 0, at)  # type: ignore[index]
    return values
