"""`raycv sweep clusters`: spectral clusters of every layer and pair of networks (paper, S.3), for several k."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from raycv import cluster, record, statistics, tables
from raycv.analysis.clusters import cluster_metrics
from raycv.analysis.graphs import combined_correlation
from raycv.analysis.hierarchy import ClusterTree, split_clusters
from raycv.analysis.spectral import SpectralClusters, allowed_k, relative_eigengaps, sweep_clusters
from raycv.config import ClusterSweepConfig
from raycv.progress import say
from raycv.statistics import correlations
from raycv.store import RunStore
from raycv.sweeps import Frames, Outcome, Trial, assemble, run_trials

STAGE = "sweep clusters"
FORMAT = 1  # of the trials' results; part of their identity
ALPHA = 0.025  # paper, S.3.4
SMALLEST_LIMIT = 4.8  # units: the paper's 2 ALPHA S for its narrowest layer, conv1 with S = 96
PAPERS_K_FIRST, PAPERS_K = 40, 100  # of conv1, of the other layers (paper, S.3.4)
WRITTEN = ("clusterings", "clusters", "cluster_members", "eigenvalues")


def sweep(config: ClusterSweepConfig, store: RunStore) -> None:
    """Write the tables clusterings, clusters, cluster_members and eigenvalues.

    One trial is one layer, pair of networks and threshold, with all its k. Does nothing where the run already has these
    tables for these settings; takes up the trials that an interrupted sweep has finished.
    """
    began = time.time()
    found = statistics.read(store)
    names = [spec.name for spec in found.groups["nets"]]
    identity = record.fingerprint(FORMAT, found.folder, sorted(set(config.k)), sorted(set(config.thresholds)))
    if record.finished(store, STAGE, identity):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/clusterings')}")
        return
    folder = f"sweeps/clusters-{identity}"
    trials = [
        Trial(
            f"{layer}/{names[a]}-{names[b]}/{threshold}",
            layer,
            {
                "layer": layer,
                "a": a,
                "b": b,
                "names": (names[a], names[b]),
                "threshold": threshold,
                "k_of_paper": PAPERS_K if place else PAPERS_K_FIRST,
                "k_given": sorted(set(config.k)),
            },
        )
        for place, layer in enumerate(found.layers)
        for a, b in combinations(range(len(names)), 2)
        for threshold in sorted(set(config.thresholds))
    ]

    def shared(layer: str) -> dict[tuple[int, int], np.ndarray]:
        of_layer = found.layer("nets", layer)
        return correlations(of_layer.all, of_layer.dead())

    cluster.connect(store.uri)
    outcome = run_trials(store, folder, STAGE, clusterings_of_pair, trials, shared)
    refused = [f"{name}: {why}" for name, why in outcome.failures.items()] + _refused_k(store, folder, outcome, trials)
    for sentence in refused:
        say(f"{STAGE}: left out {sentence}")
    where = [assemble(store, folder, outcome, name) for name in WRITTEN]
    facts: dict[str, Any] = {
        "seconds": {STAGE: round(time.time() - began, 1)},
        "trials": len(trials),
        "computed": outcome.computed,
        "left_out": refused,
    }
    record.finish(store, STAGE, identity, config.model_dump(mode="json"), facts)
    store.remove("sweeps")
    for uri in where:
        say(f"{STAGE}: {uri}")


def clusterings_of_pair(
    of_layer: dict[tuple[int, int], np.ndarray],
    *,
    layer: str,
    a: int,
    b: int,
    names: tuple[str, str],
    threshold: float,
    k_of_paper: int,
    k_given: Sequence[int],
) -> Frames:
    """The rows of one layer, pair of networks a < b and threshold, from one eigendecomposition.

    ``of_layer``: correlations (S_a, S_b) of every pair of networks a <= b. The k are the one with the largest eigengap,
    the paper's and those given, as far as the graph allows them. Raises ValueError for a threshold that leaves no edge.
    """
    began = time.perf_counter()
    correlation = combined_correlation(of_layer[a, a], of_layer[a, b], of_layer[b, b])
    n_source = len(of_layer[a, a])
    lowest, highest = allowed_k(correlation, threshold)
    ks = [k for k in sorted({k_of_paper, *k_given}) if lowest <= k <= highest]
    chosen, *others = sweep_clusters(correlation, n_source, [None, *ks], threshold=threshold)
    found = sorted({result.k: result for result in [chosen, *others]}.items())
    about = {"layer": layer, "net_a": names[0], "net_b": names[1], "threshold": threshold}
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
        row = _clustering(result, tree, limit, n_source)
        rows.append(about | {"k": k, "chosen": result is chosen or k == chosen.k} | row | {"seconds": seconds})
    values = chosen.eigenvalues
    spectrum = {
        "number": np.arange(1, len(values) + 1),
        "eigenvalue": values,
        "relative_gap": np.append(relative_eigengaps(values), np.nan),
    }
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
        "isolated_a": int((result.isolated < n_source).sum()),
        "isolated_b": int((result.isolated >= n_source).sum()),
        "between_net_similarity": float(metrics.between_net_similarity.mean()),
        "within_net_similarity": float(metrics.within_net_similarity.mean()),
        "restart_stability": result.restart_stability,
        "inertia": max(result.inertia, 0.0),  # rounding can leave it just below 0
    }


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


def _refused_k(store: RunStore, folder: str, outcome: Outcome, trials: Sequence[Trial]) -> list[str]:
    """One sentence for every trial whose graph does not allow some k that the user gave."""
    sentences = []
    for trial in trials:
        if trial.name in outcome.failures or not trial.parameters["k_given"]:
            continue
        row = tables.read_part(store, f"{folder}/{trial.name}/clusterings.parquet").to_pandas().iloc[0]
        lowest, highest = int(row["lowest_k"]), int(row["highest_k"])
        beyond = [str(k) for k in trial.parameters["k_given"] if not lowest <= k <= highest]
        if beyond:
            sentences.append(f"{trial.name}: k = {', '.join(beyond)}; its graph allows {lowest} to {highest}")
    return sentences
