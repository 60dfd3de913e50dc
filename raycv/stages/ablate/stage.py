"""`raycv ablate`: what becomes of a network without its matched, unmatched, recurring or lonely units."""

from __future__ import annotations

import time
from functools import partial

from raycv.config import AblateConfig
from raycv.distributed.crew import do_all
from raycv.networks.bench import Bench
from raycv.progress import say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.paths import parts_folder
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from raycv.stages.ablate.rows import WRITTEN, Ablater, by_layer, units_of
from raycv.stages.collect import statistics

STAGE = "ablate"
FORMAT = 1  # of the tables; part of their identity
SUMMARY = "ablation_by_layer"


def ablate(config: AblateConfig, store: RunStore) -> None:
    """Write the tables ablations, ablation_classes, unit_ablations and ablation_by_layer.

    Does nothing where the run already has these tables for these settings; reuses the layers of networks that an
    interrupted run of the stage has finished. Raises UserError where the run is not aligned yet.
    """
    began = time.time()
    if is_done(config, store):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/ablations')}")
        return
    found, identity = statistics.read(store), _identity(config, store)
    bench = Bench.of(store, found.source())
    results = TrialResults(store, parts_folder(STAGE, identity))
    pieces = bench.pieces()
    computed = do_all(results, STAGE, pieces, Ablater(bench, config.single_units).on, config.device)
    where = [results.assemble(table, [piece.name for piece in pieces]) for table in WRITTEN]
    groups, single = tables.read(store, "ablations"), tables.read(store, "unit_ablations")
    summary = by_layer(groups, single, partial(units_of, store))
    where.append(tables.write(store, SUMMARY, summary))
    facts = {"pieces": len(pieces), "computed": computed}
    settings = config.model_dump(mode="json")
    results.close(STAGE, identity, settings, began, facts)
    for uri in where:
        say(f"{STAGE}: {uri}")


def is_done(config: AblateConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics and matchings for these settings."""
    return record.finished(store, STAGE, _identity(config, store)) and tables.are_whole(store, (*WRITTEN, SUMMARY))


def _identity(config: AblateConfig, store: RunStore) -> str:
    of = [record.fingerprint_of(store, stage) for stage in ("collect", "align")]
    return fingerprint(FORMAT, of, config.single_units)
