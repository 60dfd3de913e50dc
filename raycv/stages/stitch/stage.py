"""`raycv stitch`: the first layers of one network followed by the last of another, joined by a mapping layer."""

from __future__ import annotations

from raycv import statistics
from raycv.config import StitchConfig
from raycv.networks.bench import Bench
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.piecewise_stage import PiecewiseStage
from raycv.stages.stitch.memory import actor_need
from raycv.stages.stitch.rows import Stitcher, by_layer

STAGE = "stitch"
FORMAT = 1  # of the tables; part of their identity


def stitch(config: StitchConfig, store: RunStore) -> None:
    """Write the tables stitching and stitching_by_layer.

    Does nothing where the run already has these tables for these settings; reuses the layers of networks that an
    interrupted run of the stage has finished. Raises UserError where the run has no statistics yet.
    """
    work = _work(config, store)
    if work.has_nothing_to_do():
        return
    found = statistics.read(store)
    bench = Bench.of(store, found.source())
    need = actor_need(bench, *found.sizes(), len(_decays(config)))
    facts = work.do(
        bench.pieces(), Stitcher(bench, found, _decays(config)).on, config.processors, need, len(bench.networks)
    )
    work.close({"device": config.device, "gpus": config.gpus}, facts)  # the decays of the run are its sweep's


def is_done(config: StitchConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics for these settings."""
    return _work(config, store).is_done()


def _work(config: StitchConfig, store: RunStore) -> PiecewiseStage:
    identity = fingerprint(FORMAT, record.fingerprint_of(store, "collect"), _decays(config))
    summaries = {"stitching_by_layer": lambda: by_layer(tables.read(store, "stitching"))}
    return PiecewiseStage(store, STAGE, identity, ("stitching",), summaries)


def _decays(config: StitchConfig) -> tuple[float, ...]:
    return tuple(sorted(set(config.decays)))
