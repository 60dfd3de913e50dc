"""`raycv prune`: which units can be removed, and whether the others make up for them (the paper's section 5)."""

from __future__ import annotations

import time

from raycv.config import PruneConfig
from raycv.distributed.crew import do_all
from raycv.networks.bench import Bench
from raycv.progress import say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.paths import parts_folder
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from raycv.stages.collect import statistics
from raycv.stages.prune.rows import Pruner, by_layer

STAGE = "prune"
FORMAT = 1  # of the tables; part of their identity
WRITTEN = ("pruning", "pruning_by_layer")


def prune(config: PruneConfig, store: RunStore) -> None:
    """Write the tables pruning and pruning_by_layer.

    Does nothing where the run already has these tables for these settings; reuses the layers of networks that an
    interrupted run of the stage has finished. Raises UserError where the run has no statistics or no matchings yet.
    """
    began = time.time()
    if is_done(config, store):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/pruning')}")
        return
    found, identity = statistics.read(store), _identity(config, store)
    bench = Bench.of(store, found.source())
    pruner = Pruner(bench, found, _fractions(config), config.fill)
    results = TrialResults(store, parts_folder(STAGE, identity))
    pieces = bench.pieces()
    computed = do_all(results, STAGE, pieces, pruner.on, config.device)
    where = [results.assemble("pruning", [piece.name for piece in pieces])]
    where.append(tables.write(store, "pruning_by_layer", by_layer(tables.read(store, "pruning"))))
    facts = {"pieces": len(pieces), "computed": computed}
    settings = config.model_dump(mode="json")
    results.close(STAGE, identity, settings, began, facts)
    for uri in where:
        say(f"{STAGE}: {uri}")


def is_done(config: PruneConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics and matchings for these settings."""
    return record.finished(store, STAGE, _identity(config, store)) and tables.are_whole(store, WRITTEN)


def _identity(config: PruneConfig, store: RunStore) -> str:
    of = [record.fingerprint_of(store, stage) for stage in ("collect", "align")]
    return fingerprint(FORMAT, of, _fractions(config), config.fill)


def _fractions(config: PruneConfig) -> tuple[float, ...]:
    return tuple(sorted(set(config.fractions)))
