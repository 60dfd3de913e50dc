"""`raycv sweep clusters`: spectral clusters of every layer and pair of networks (paper, S.3), for several k."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from raycv import statistics
from raycv.config import ClusterSweepConfig
from raycv.distributed import ray_cluster
from raycv.distributed.tuning import Trial, run_trials
from raycv.paper import CLUSTERS, CLUSTERS_FIRST
from raycv.progress import detail, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.run.tracking import track_rows, tracker
from raycv.run.trial_results import TrialResults
from raycv.stages.clusters.memory import trial_need
from raycv.stages.clusters.rows import Clustering, clusterings_from
from raycv.statistics.reader import Statistics

STAGE = "sweep clusters"
FORMAT = 3  # of the trials' results; part of their identity
WRITTEN = ("clusterings", "clusters", "cluster_members", "eigenvalues")


def sweep(config: ClusterSweepConfig, store: RunStore) -> None:
    """Write the tables clusterings, clusters, cluster_members and eigenvalues.

    One trial is one layer, pair of networks and threshold, with all its k. Does nothing where the run already has these
    tables for these settings; reuses the trials that an interrupted sweep has finished. Raises StageFailed where a
    trial failed.
    """
    began = time.time()
    if is_done(config, store):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/clusterings')}")
        return
    found = statistics.read(store)
    identity = _identity(config, found)
    results = TrialResults(store, f"sweeps/clusters-{identity}")
    trials = _trials(config, found)
    told = tracker(config.track, store, STAGE)
    ray_cluster.connect(store.uri)
    ray_cluster.check_memory(STAGE, trial_need(*found.sizes()))
    computed = run_trials(results, STAGE, clusterings_from, trials, lambda _layer: found)
    infeasible = results.left_out([trial.name for trial in trials])
    left_out = [f"{name}: {why}" for name, why in infeasible.items()]
    left_out += _refused_k(results, [trial for trial in trials if trial.name not in infeasible])
    for sentence in left_out:
        say(f"{STAGE}: left out {sentence}")
    names = [trial.name for trial in trials]
    where = [results.assemble(table, names) for table in WRITTEN]
    facts: dict[str, Any] = {
        "seconds": {STAGE: round(time.time() - began, 1)},
        "trials": len(trials),
        "computed": computed,
        "left_out": left_out,
    }
    record.finish(store, STAGE, identity, config.model_dump(mode="json"), facts)
    results.remove()
    track_rows(told, tables.read(store, "clusterings"), ("layer", "threshold"), "k", ("restart_stability", "inertia"))
    for uri in where:
        detail(f"{STAGE}: {uri}")


def is_done(config: ClusterSweepConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics for these settings."""
    identity = _identity(config, statistics.read(store))
    return record.finished(store, STAGE, identity) and tables.are_whole(store, WRITTEN)


def _identity(config: ClusterSweepConfig, found: Statistics) -> str:
    return fingerprint(FORMAT, found.folder, sorted(set(config.k), key=str), sorted(set(config.thresholds)))


def _trials(config: ClusterSweepConfig, found: Statistics) -> list[Trial[Clustering]]:
    """One for each layer, pair of networks and threshold."""
    names = found.names
    return [
        Trial(
            f"{layer}/{names[a]}-{names[b]}-above-{threshold}",  # one folder below the layer, as results are named
            layer,
            Clustering(
                layer=layer,
                a=a,
                b=b,
                names=(names[a], names[b]),
                threshold=threshold,
                k_of_paper=(CLUSTERS if place else CLUSTERS_FIRST) if "paper" in config.k else None,
                k_given=tuple(sorted({k for k in config.k if k != "paper"})),
            ),
        )
        for place, layer in enumerate(found.layers)
        for a, b in combinations(range(len(names)), 2)
        for threshold in sorted(set(config.thresholds))
    ]


def _refused_k(results: TrialResults, trials: Sequence[Trial[Clustering]]) -> list[str]:
    """One sentence for every trial whose graph does not allow some k that the user gave."""
    sentences = []
    for trial in trials:
        given = trial.parameters
        wanted = sorted({*given.k_given, *([given.k_of_paper] if given.k_of_paper else [])})
        if wanted:
            row = results.rows(trial.name, "clusterings").to_pandas().iloc[0]
            lowest, highest = int(row["lowest_k"]), int(row["highest_k"])
            beyond = [str(k) for k in wanted if not lowest <= k <= highest]
            if beyond:
                sentences.append(f"{trial.name}: k = {', '.join(beyond)}; its graph allows {lowest} to {highest}")
    return sentences
