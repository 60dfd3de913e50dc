"""`raycv ensemble`: what networks give when they vote, and when the units of two of them are put together."""

from __future__ import annotations

import time

from raycv.config import EnsembleConfig
from raycv.data.readers import EMBEDDED
from raycv.data.sources import Source, open_source
from raycv.distributed.crew import do_all
from raycv.errors import UserError
from raycv.networks.bench import Bench
from raycv.progress import say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.paths import parts_folder
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from raycv.stages.collect import statistics
from raycv.stages.ensemble.rows import Ensembler, agreement_rows

STAGE = "ensemble"
FORMAT = 1  # of the tables; part of their identity
WRITTEN = ("ensembles", "ensemble_agreement", "combinations")


def ensemble(config: EnsembleConfig, store: RunStore) -> None:
    """Write the tables ensembles, ensemble_agreement and combinations.

    Does nothing where the run already has these tables for these settings; reuses what an interrupted run of the stage
    has finished. Raises UserError where the run is not aligned yet, and for a layer that it does not have.
    """
    began = time.time()
    if is_done(config, store):
        say(f"{STAGE}: already finished, nothing to do; see {store.locate('tables/ensembles')}")
        return
    found, identity = statistics.read(store), _identity(config, store)
    bench = Bench.of(store, found.source())
    layer, (training, left_out) = _layer(config, bench), _training(config, store)
    ensembler = Ensembler(bench, found, layer, training)
    results = TrialResults(store, parts_folder(STAGE, identity))
    pieces = ensembler.pieces()
    computed = do_all(results, STAGE, pieces, ensembler.on, config.device)
    names = [piece.name for piece in pieces]
    where = [results.assemble(table, names) for table in ("ensembles", "combinations")]
    agreement = agreement_rows(store, found.names, bench.hidden_layers)
    where.append(tables.write(store, "ensemble_agreement", agreement))
    facts = {"pieces": len(pieces), "computed": computed, "left_out": left_out}
    settings = config.model_dump(mode="json")
    results.close(STAGE, identity, settings, began, facts)
    if left_out:
        say(f"{STAGE}: left out the read-outs of two networks' units: {left_out}")
    for uri in where:
        say(f"{STAGE}: {uri}")


def is_done(config: EnsembleConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics and matchings for these settings."""
    return record.finished(store, STAGE, _identity(config, store)) and tables.are_whole(store, WRITTEN)


def _identity(config: EnsembleConfig, store: RunStore) -> str:
    of = [record.fingerprint_of(store, stage) for stage in ("collect", "align")]
    return fingerprint(FORMAT, of, config.readout_layer, config.readout_images)


def _layer(config: EnsembleConfig, bench: Bench) -> str:
    if config.readout_layer is None:
        return bench.hidden_layers[-1]
    if config.readout_layer not in bench.hidden_layers:
        raise UserError(
            f"--readout-layer was given {config.readout_layer!r}; the networks of {bench.store.uri} were compared in "
            f"{', '.join(bench.hidden_layers)}; name one of these."
        )
    return config.readout_layer


def _training(config: EnsembleConfig, store: RunStore) -> tuple[Source | None, str]:
    """The training images of the run, a fixed random choice where there are too many; or why there are none."""
    given = record.read(store)["config"]
    columns = {name: given.get(name) for name in ("image_column", "label_column")}
    try:
        source = open_source(given.get("data") or EMBEDDED, "train", **columns)
    except UserError as why:  # imported networks may have been trained on images that are not here
        return None, str(why)
    count = min(given.get("train_images") or len(source), len(source), config.readout_images)
    return source.first(count), ""
