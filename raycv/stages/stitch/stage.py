"""`raycv stitch`: the first layers of one network followed by the last of another, joined by a mapping layer."""

from __future__ import annotations

import time

from raycv.config import StitchConfig
from raycv.distributed.crew import do_all
from raycv.networks.bench import Bench
from raycv.progress import say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.paths import parts_folder
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from raycv.stages.collect import statistics
from raycv.stages.stitch.rows import Stitcher, by_layer

STAGE = "stitch"
FORMAT = 1  # of the tables; part of their identity
WRITTEN = ("stitching", "stitching_by_layer")


def stitch(config: StitchConfig, store: RunStore) -> None:
    """Write the tables stitching and stitching_by_layer.

    Does nothing where the run already has these tables for these settings; reuses the layers of networks that an
    interrupted run of the stage has finished. Raises UserError where the run has no statistics yet.
    """
    began = time.time()
    if is_done(config, store):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/stitching')}")
        return
    found, identity = statistics.read(store), _identity(config, store)
    bench = Bench.of(store, found.source())
    stitcher = Stitcher(bench, found, _decays(config))
    results = TrialResults(store, parts_folder(STAGE, identity))
    pieces = bench.pieces()
    computed = do_all(results, STAGE, pieces, stitcher.on, config.device)
    where = [results.assemble("stitching", [piece.name for piece in pieces])]
    where.append(tables.write(store, "stitching_by_layer", by_layer(tables.read(store, "stitching"))))
    facts = {"pieces": len(pieces), "computed": computed}
    settings = {"device": config.device}  # the decays of the run are its sweep's
    results.close(STAGE, identity, settings, began, facts)
    for uri in where:
        say(f"{STAGE}: {uri}")


def is_done(config: StitchConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics for these settings."""
    return record.finished(store, STAGE, _identity(config, store)) and tables.are_whole(store, WRITTEN)


def _identity(config: StitchConfig, store: RunStore) -> str:
    return fingerprint(FORMAT, record.fingerprint_of(store, "collect"), _decays(config))


def _decays(config: StitchConfig) -> tuple[float, ...]:
    return tuple(sorted(set(config.decays)))
