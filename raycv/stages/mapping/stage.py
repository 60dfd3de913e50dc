"""`raycv sweep mapping`: mapping layers of every layer and ordered pair of networks (paper, section 4)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pandas as pd

from raycv import statistics
from raycv.analysis.lasso import UNITS_FOR_GPU
from raycv.config import MappingSweepConfig
from raycv.distributed import gpu_nodes, ray_cluster
from raycv.distributed.tuning import Trial, run_trials
from raycv.networks.catalogue import check_buildable
from raycv.networks.stored import stored, weights_content
from raycv.progress import detail, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.run.tracking import track_rows, tracker
from raycv.run.trial_results import TrialResults
from raycv.stages.mapping.memory import trial_need
from raycv.stages.mapping.rows import (
    WRITTEN,
    LayerMapping,
    PairMapping,
    Sought,
    mappings_from,
    mappings_of_layer,
)
from raycv.stages.mapping.streamed import Stream
from raycv.statistics.reader import Statistics

STAGE = "sweep mapping"
FORMAT = 3  # of the trials' results; part of their identity

SOLVERS = ("exact", "sgd")  # where the settings do not say


@dataclass(frozen=True)
class _Plan:
    """What a sweep computes, and which layers cannot be trained because none of the processors wanted is a GPU."""

    decays: tuple[float, ...]
    solvers: tuple[str, ...]
    sought: Sought
    gpus: int  # for a trial of a wide layer
    widths: dict[str, int]
    most_gpus: int | None = None

    def is_wide(self, layer: str) -> bool:
        return self.widths[layer] > UNITS_FOR_GPU

    @property
    def trained(self) -> list[str]:
        """The layers in which mapping layers are trained."""
        return [layer for layer in self.widths if self.gpus or not self.is_wide(layer)]

    @property
    def untrained(self) -> dict[str, str]:
        """What is not trained for lack of a GPU, and why."""
        return {
            f"{layer} by {solver}": f"{width:,} units need a GPU with float64, and the processors wanted have none"
            for layer, width in self.widths.items()
            for solver in self.solvers
            if solver != "exact" and layer not in self.trained
        }


def sweep(config: MappingSweepConfig, store: RunStore, solvers: Sequence[str] = SOLVERS) -> None:
    """Write the tables mappings, mapping_weights, mapping_units and agglomerations.

    One trial is one layer and ordered pair of networks, with its whole path of decays. Does nothing where the run
    already has these tables for these settings; reuses the trials that an interrupted sweep has finished.
    ``solvers`` are those used where the settings do not say. Raises StageFailed where a trial failed.
    """
    began = time.time()
    if is_done(config, store, solvers):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/mappings')}")
        return
    found = statistics.read(store)
    decays, solvers = tuple(sorted(set(config.decays))), tuple(sorted(set(config.solvers or solvers)))
    sought, identity = Sought(config.units_used, config.loss), _identity(config, found)
    stream = _stream(store, found) if "streamed" in solvers else None
    told = tracker(config.track, store, STAGE)
    ray_cluster.connect(store.uri, config.processors)
    ray_cluster.check_memory(STAGE, trial_need(*found.sizes(), len(decays), len(solvers)))
    gpus = int(ray_cluster.computes_on_gpus(config.processors))
    plan = _Plan(decays, solvers, sought, gpus, {layer: found.width(layer) for layer in found.layers}, config.gpus)
    results = TrialResults(store, f"sweeps/mapping-{fingerprint(identity, solvers)}")
    pairs = _trials(plan, found.names)
    names, computed = _run(results, plan, found, pairs, stream)
    left_out = plan.untrained | results.left_out(names)
    for name, why in left_out.items():
        say(f"{STAGE}: left out {name}: {why}")
    where = [results.assemble(table, names) for table in WRITTEN]
    rows = tables.read(store, "mappings")
    facts: dict[str, Any] = {
        "seconds": {STAGE: round(time.time() - began, 1)},
        "solvers": solvers,
        "trials": len(names),
        "computed": computed,
        "device": gpu_nodes.kinds() if plan.gpus and any(map(plan.is_wide, plan.widths)) else "CPU",
        "solver_seconds": round(float(rows["seconds"].sum()), 1),
        "left_out": left_out,
    }
    record.finish(store, STAGE, identity, config.model_dump(mode="json"), facts)
    results.remove()
    track_rows(told, rows, ("layer", "solver"), "decay", ("loss", "heldout_loss", "units_used"))
    for sentence in _found(rows, sought, len(pairs), found.layers):
        say(f"{STAGE}: {sentence}")
    for uri in where:
        detail(f"{STAGE}: {uri}")


def _stream(store: RunStore, found: Statistics) -> Stream:
    """The networks and images to train on. Raises UserError where a network is a recording."""
    networks = tuple(stored(store))
    check_buildable(network.spec for network in networks)
    for network in networks:
        weights_content(store, network)
    return Stream(store, networks, found.source())


def is_done(config: MappingSweepConfig, store: RunStore, solvers: Sequence[str] = SOLVERS) -> bool:
    """Whether the run has the tables of its statistics for these settings, by these solvers or more."""
    noted = record.read(store)["stages"].get(STAGE, {})
    whole = tables.are_whole(store, WRITTEN)
    identity = _identity(config, statistics.read(store))
    wanted = set(config.solvers or solvers)
    return record.finished(store, STAGE, identity) and wanted <= set(noted.get("solvers", ())) and whole


def _identity(config: MappingSweepConfig, found: Statistics) -> str:
    sought = Sought(config.units_used, config.loss)
    return fingerprint(FORMAT, found.folder, tuple(sorted(set(config.decays))), vars(sought))


def _run(
    results: TrialResults,
    plan: _Plan,
    found: Statistics,
    pairs: Sequence[Trial[PairMapping]],
    stream: Stream | None,
) -> tuple[list[str], int]:
    """Run all trials that have no result; returns the names of all and how many were run."""
    on_gpus = [trial for trial in pairs if trial.gpus and plan.most_gpus]  # apart, as their number is limited
    computed = run_trials(results, STAGE, mappings_from, [one for one in pairs if one not in on_gpus], lambda _: found)
    if on_gpus:
        computed += run_trials(results, STAGE, mappings_from, on_gpus, lambda _: found, plan.most_gpus)
    names = [trial.name for trial in pairs]
    if stream is not None:
        streamed = [
            Trial(f"{of}/streamed", of, LayerMapping(of, plan.decays, plan.gpus > 0), plan.gpus) for of in plan.trained
        ]
        computed += run_trials(
            results,
            f"{STAGE}, streamed",
            mappings_of_layer,
            streamed,
            lambda _layer: (stream, found),
            plan.most_gpus if plan.gpus else None,
        )
        names += [trial.name for trial in streamed]
    return names, computed


def _trials(plan: _Plan, names: Sequence[str]) -> list[Trial[PairMapping]]:
    """One for each layer and ordered pair of networks, where there are solvers."""
    trials = []
    for layer in plan.widths:
        solvers = tuple(s for s in plan.solvers if s == "exact" or (s == "sgd" and layer in plan.trained))
        gpus = plan.gpus if plan.is_wide(layer) else 0
        for a, b in permutations(range(len(names)), 2) if solvers else ():
            given = PairMapping(
                layer=layer,
                a=a,
                b=b,
                names=(names[a], names[b]),
                decays=plan.decays,
                solvers=solvers,
                sought=plan.sought,
                use_gpu=gpus > 0,
            )
            trials.append(Trial(f"{layer}/{names[a]}-{names[b]}", layer, given, gpus))
    return trials


def _found(rows: pd.DataFrame, sought: Sought, trials: int, layers: Sequence[str]) -> list[str]:
    """What the searches found: one sentence per layer, and how many pairs no decay could serve."""
    sentences = []
    for what, value in sought.given().items():
        hits = rows[rows["sought"] == f"{what}={value:g}"]
        for layer in layers:
            decays = hits.loc[hits["layer"] == layer, "decay"]
            if len(decays):
                sentences.append(
                    f"{layer}: {what} = {value:g} at decay {decays.median():.3g} "
                    f"(median of {len(decays)} pairs, {decays.min():.3g} to {decays.max():.3g})"
                )
        if len(hits) < trials:
            sentences.append(f"{what} = {value:g} is reached by no decay for {trials - len(hits)} of {trials} pairs")
    return sentences
