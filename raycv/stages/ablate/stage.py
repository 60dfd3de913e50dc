"""`raycv ablate`: what becomes of a network without its matched, unmatched, recurring or lonely units."""

from __future__ import annotations

from functools import partial

from raycv import statistics
from raycv.config import AblateConfig
from raycv.networks.bench import Bench
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.ablate.memory import actor_need
from raycv.stages.ablate.rows import WRITTEN, Ablater, by_layer, units_of
from raycv.stages.piecewise_stage import PiecewiseStage

STAGE = "ablate"
FORMAT = 1  # of the tables; part of their identity


def ablate(config: AblateConfig, store: RunStore) -> None:
    """Write the tables ablations, ablation_classes, unit_ablations and ablation_by_layer.

    Does nothing where the run already has these tables for these settings; reuses the layers of networks that an
    interrupted run of the stage has finished. Raises UserError where the run is not aligned yet.
    """
    work = _work(config, store)
    if work.has_nothing_to_do():
        return
    bench = Bench.of(store, statistics.read(store).source())
    ablater = Ablater(bench, config.single_units)
    facts = work.do(bench.pieces(), ablater.on, config.processors, actor_need(bench), len(bench.networks))
    work.close(config.model_dump(mode="json"), facts)


def is_done(config: AblateConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics and matchings for these settings."""
    return _work(config, store).is_done()


def _work(config: AblateConfig, store: RunStore) -> PiecewiseStage:
    of = [record.fingerprint_of(store, stage) for stage in ("collect", "align")]
    read, units = partial(tables.read, store), partial(units_of, store)
    summaries = {"ablation_by_layer": lambda: by_layer(read("ablations"), read("unit_ablations"), units)}
    return PiecewiseStage(store, STAGE, fingerprint(FORMAT, of, config.single_units), WRITTEN, summaries)
