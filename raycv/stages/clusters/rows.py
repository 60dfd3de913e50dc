"""Rows of the tables clusterings, clusters, cluster_members and eigenvalues: one trial of the sweep."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.clusters import cluster_metrics
from raycv.analysis.graphs import combined_correlation
from raycv.analysis.hierarchy import ClusterTree, split_clusters
from raycv.analysis.infeasible import Infeasible
from raycv.analysis.sparsity import rotated_sources
from raycv.analysis.spectral import (
    K_RANGE,
    SpectralClusters,
    allowed_k,
    default_k,
    spectral_clusters,
    sweep_clusters,
)
from raycv.run.trial_results import Frames
from raycv.statistics.folds import correlations
from raycv.statistics.reader import Mixed, Statistics

ALPHA = 0.025  # paper, S.3.4
SMALLEST_LIMIT = 4.8  # units: the paper's 2 ALPHA S for its narrowest layer, conv1 with S = 96


MIXED = ("mixed_modularity", "mixed_units_two_net")


@dataclass(frozen=True)
class LayerCorrelations:
    """One layer of two networks or more, NaN where a unit takes no part.

    ``correlations``: (S_a, S_b) of every pair a <= b. ``mixed``: each network's units mixed before the non-linearity.
    Both go by the networks' numbers in the run.
    """

    correlations: Mapping[tuple[int, int], np.ndarray]
    mixed: Mapping[int, Mixed]


@dataclass(frozen=True)
class Clustering:
    """The input of one trial: a layer, two networks a < b with their ``names``, a threshold, and which k.

    ``k_of_paper`` is the paper's where it was asked for in place of the default.
    """

    layer: str
    a: int
    b: int
    names: tuple[str, str]
    threshold: float
    k_of_paper: int | None
    k_given: tuple[int, ...]


def clusterings_from(statistics: Statistics, given: Clustering) -> Frames:
    """One trial: ``clusterings_of_pair`` of what a run's statistics hold of the two networks."""
    both = given.a, given.b
    moments = statistics.among(given.layer, both)
    found = correlations(moments.all, moments.left_out())
    numbered = {(both[a], both[b]): values for (a, b), values in found.items()}
    return clusterings_of_pair(LayerCorrelations(numbered, statistics.mixed(given.layer, both)), given)


def clusterings_of_pair(layer: LayerCorrelations, given: Clustering) -> Frames:
    """The rows of one layer, pair of networks and threshold, from one eigendecomposition.

    The k are the default, the one with the largest modularity and those given, as far as the graph allows them. Raises
    Infeasible for a threshold that leaves no edge.
    """
    began = time.perf_counter()
    a, b, names = given.a, given.b, given.names
    of_layer = layer.correlations
    correlation = combined_correlation(of_layer[a, a], of_layer[a, b], of_layer[b, b])
    n_source = len(of_layer[a, a])
    lowest, highest = allowed_k(correlation, given.threshold)
    default = default_k(lowest, highest)
    if given.k_of_paper is not None and lowest <= given.k_of_paper <= highest:
        default = given.k_of_paper
    ks = [k for k in sorted({default, *given.k_given}) if lowest <= k <= highest]
    chosen, *others = sweep_clusters(correlation, n_source, [None, *ks], threshold=given.threshold, k_range=K_RANGE)
    found = sorted({result.k: result for result in [chosen, *others]}.items())
    about = {"layer": given.layer, "net_a": names[0], "net_b": names[1], "threshold": given.threshold}
    shared_seconds = (time.perf_counter() - began) / len(found)
    rows: list[dict[str, Any]] = []
    nodes, members = [], []
    for k, result in found:
        began = time.perf_counter()
        # For layers narrower than any of the paper's its limit would soon be less than a unit of each net.
        limit = max(ALPHA * len(correlation), SMALLEST_LIMIT)
        tree = split_clusters(result, alpha=limit / len(correlation))
        nodes.append(pd.DataFrame(about | {"k": k} | _nodes(correlation, n_source, tree)))
        members.append(pd.DataFrame(about | {"k": k} | _members(result, tree, n_source, names)))
        seconds = shared_seconds + time.perf_counter() - began
        by_chance = _by_chance(layer, given, k) if k == default else dict.fromkeys(MIXED, np.nan)
        row = _clustering(result, tree, limit, n_source) | by_chance
        rows.append(about | {"k": k, "is_default": k == default, "chosen": k == chosen.k} | row | {"seconds": seconds})
    number = np.arange(1, len(chosen.eigenvalues) + 1)
    modularity = [chosen.tried.get(k, np.nan) for k in number.tolist()]
    spectrum = {"number": number, "eigenvalue": chosen.eigenvalues, "modularity": modularity}
    return {
        "clusterings": pd.DataFrame(rows),
        "clusters": pd.concat(nodes),
        "cluster_members": pd.concat(members),
        "eigenvalues": pd.DataFrame(about | spectrum),
    }


def _clustering(result: SpectralClusters, tree: ClusterTree, limit: float, n_source: int) -> dict[str, Any]:
    metrics = result.metrics
    return {
        "lowest_k": result.spectrum.pieces,
        "highest_k": len(result.spectrum.units),
        "size_limit": limit,
        "clusters": len(tree.leaves),
        "largest_cluster": int(metrics.units_per_net.sum(axis=1).max()),
        "largest_leaf": int(np.bincount(tree.labels[tree.labels >= 0]).max()),
        "one_net": len(metrics.one_net),
        "single_unit": len(metrics.single_unit),
        "units_two_net": metrics.units_two_net,
        "modularity": result.modularity,
        "isolated_a": int((result.isolated < n_source).sum()),
        "isolated_b": int((result.isolated >= n_source).sum()),
        "between_net_similarity": float(metrics.between_net_similarity.mean()),
        "within_net_similarity": float(metrics.within_net_similarity.mean()),
        "restart_stability": result.restart_stability,
        "inertia": max(result.inertia, 0.0),  # rounding can leave it just below 0
    }


def _by_chance(layer: LayerCorrelations, given: Clustering, k: int) -> dict[str, float]:
    """What mixtures give in the place of one network's units: means over both networks; NaN where no k clusters."""
    found = []
    for kept, replaced in ((given.a, given.b), (given.b, given.a)):
        own, between = _mixtures(layer, kept, replaced)
        within = layer.correlations[kept, kept]
        combined = combined_correlation(within, between, own)
        try:
            found.append(spectral_clusters(combined, len(within), k, threshold=given.threshold))
        except Infeasible:  # the graph of the mixtures does not allow this k
            return dict.fromkeys(MIXED, np.nan)
    modularity, units = zip(*((one.modularity, one.metrics.units_two_net) for one in found), strict=True)
    return dict(zip(MIXED, (float(np.mean(modularity)), float(np.mean(units))), strict=True))


def _mixtures(layer: LayerCorrelations, kept: int, replaced: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlations among the mixtures of one network's units and (S_kept, S) of another's units with them.

    Mixed before the non-linearity, or where there is none rotated; a rotated unit has the sign that makes its largest
    correlation positive.
    """
    if replaced in layer.mixed:
        return layer.mixed[replaced].own, layer.mixed[replaced].units[kept]
    of_layer, seed = layer.correlations, np.random.default_rng([kept, replaced])
    cross = of_layer[kept, replaced].T if kept < replaced else of_layer[replaced, kept]
    own, between = rotated_sources(of_layer[replaced, replaced], cross, seed=seed)
    known = np.nan_to_num(between)
    largest = known[np.arange(len(known)), np.abs(known).argmax(1)]
    sign = np.where(largest < 0, -1.0, 1.0)
    return own * np.outer(sign, sign), between.T * sign


def _nodes(correlation: np.ndarray, n_source: int, tree: ClusterTree) -> dict[str, np.ndarray]:
    """Columns of the tree's nodes, with the similarities of each, generation by generation."""
    count = len(tree.parent)
    between, within, units = np.zeros(count), np.zeros(count), np.zeros((count, 2), dtype=np.int64)
    generation = np.flatnonzero(tree.parent < 0)
    while len(generation):
        labels = np.full(len(correlation), -1)
        for place, node in enumerate(generation):
            labels[tree.members(int(node))] = place
        metrics = cluster_metrics(correlation, n_source, labels)
        between[generation], within[generation] = metrics.between_net_similarity, metrics.within_net_similarity
        units[generation] = metrics.units_per_net
        generation = np.flatnonzero(np.isin(tree.parent, generation))
    return {
        "cluster": np.arange(count),
        "parent": tree.parent,
        "is_leaf": np.isin(np.arange(count), tree.leaves),
        "units_a": units[:, 0],
        "units_b": units[:, 1],
        "between_net_similarity": between,
        "within_net_similarity": within,
    }


def _members(
    result: SpectralClusters, tree: ClusterTree, n_source: int, names: tuple[str, str]
) -> dict[str, np.ndarray]:
    n_target = len(result.labels) - n_source
    return {
        "cluster": result.labels,
        "leaf": tree.leaf,
        "net": np.repeat(names, (n_source, n_target)),
        "unit": np.concatenate([np.arange(n_source), np.arange(n_target)]),
    }
