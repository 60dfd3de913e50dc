"""`raycv prune`: which units can be removed, and whether the others make up for them (the paper's section 5)."""

from __future__ import annotations

from raycv import statistics
from raycv.config import PruneConfig
from raycv.networks.bench import Bench
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.piecewise_stage import PiecewiseStage
from raycv.stages.prune.memory import actor_need
from raycv.stages.prune.rows import Pruner, by_layer

STAGE = "prune"
FORMAT = 1  # of the tables; part of their identity


def prune(config: PruneConfig, store: RunStore) -> None:
    """Write the tables pruning and pruning_by_layer.

    Does nothing where the run already has these tables for these settings; reuses the layers of networks that an
    interrupted run of the stage has finished. Raises UserError where the run has no statistics or no matchings yet.
    """
    work = _work(config, store)
    if work.has_nothing_to_do():
        return
    found = statistics.read(store)
    bench = Bench.of(store, found.source())
    pruner = Pruner(bench, found, _fractions(config), config.fill)
    need = actor_need(bench, *found.sizes(), _fractions(config))
    facts = work.do(bench.pieces(), pruner.on, config.processors, need, len(bench.networks))
    work.close(config.model_dump(mode="json"), facts)


def is_done(config: PruneConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics and matchings for these settings."""
    return _work(config, store).is_done()


def _work(config: PruneConfig, store: RunStore) -> PiecewiseStage:
    of = [record.fingerprint_of(store, stage) for stage in ("collect", "align")]
    identity = fingerprint(FORMAT, of, _fractions(config), config.fill)
    summaries = {"pruning_by_layer": lambda: by_layer(tables.read(store, "pruning"))}
    return PiecewiseStage(store, STAGE, identity, ("pruning",), summaries)


def _fractions(config: PruneConfig) -> tuple[float, ...]:
    return tuple(sorted(set(config.fractions)))
