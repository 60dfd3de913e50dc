"""`raycv ensemble`: what networks give when they vote, and when the units of two of them are put together."""

from __future__ import annotations

from raycv import statistics
from raycv.config import EnsembleConfig
from raycv.data.readers import EMBEDDED, NoSuchSplit
from raycv.data.sources import Source, open_source
from raycv.errors import UserError
from raycv.networks.bench import Bench
from raycv.progress import say
from raycv.run import record
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.ensemble.memory import actor_need
from raycv.stages.ensemble.rows import Ensembler, agreement_rows
from raycv.stages.piecewise_stage import PiecewiseStage

STAGE = "ensemble"
FORMAT = 1  # of the tables; part of their identity


def ensemble(config: EnsembleConfig, store: RunStore) -> None:
    """Write the tables ensembles, combinations and ensemble_agreement.

    Does nothing where the run already has these tables for these settings; reuses what an interrupted run of the stage
    has finished. Raises UserError where the run is not aligned yet, for a layer that it does not have, and where its
    training images cannot be read any more.
    """
    work = _work(config, store)
    if work.has_nothing_to_do():
        return
    found = statistics.read(store)
    bench = Bench.of(store, found.source())
    training = _training(config, store)
    ensembler = Ensembler(bench, found, _layer(config, bench), training)
    need = actor_need(bench, *found.sizes(), ensembler.layer, len(training or ()))
    facts = work.do(ensembler.pieces(), ensembler.on, config.processors, need, len(bench.networks))
    if training is None:
        say(f"{STAGE}: left out the read-outs of two networks' units: the run's images have no training images")
    work.close(config.model_dump(mode="json"), facts)


def is_done(config: EnsembleConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics and matchings for these settings."""
    return _work(config, store).is_done()


def _work(config: EnsembleConfig, store: RunStore) -> PiecewiseStage:
    of = [record.fingerprint_of(store, stage) for stage in ("collect", "align")]
    identity = fingerprint(FORMAT, of, config.readout_layer, config.readout_images)
    summaries = {"ensemble_agreement": lambda: agreement_rows(store)}
    return PiecewiseStage(store, STAGE, identity, ("ensembles", "combinations"), summaries)


def _layer(config: EnsembleConfig, bench: Bench) -> str:
    if config.readout_layer is None:
        return bench.hidden_layers[-1]
    if config.readout_layer not in bench.hidden_layers:
        raise UserError(
            f"--readout-layer was given {config.readout_layer!r}; the networks of {bench.store.uri} were compared in "
            f"{', '.join(bench.hidden_layers)}; name one of these."
        )
    return config.readout_layer


def _training(config: EnsembleConfig, store: RunStore) -> Source | None:
    """The training images of the run, a fixed random choice where there are too many; None where there are none."""
    given = record.read(store)["config"]
    columns = {name: given.get(name) for name in ("image_column", "label_column")}
    try:
        source = open_source(given.get("data") or EMBEDDED, "train", **columns)
    except NoSuchSplit:  # imported networks may have been trained on images that are not here
        return None
    count = min(given.get("train_images") or len(source), len(source), config.readout_images)
    return source.first(count)
