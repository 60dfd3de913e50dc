"""`raycv study`: how much convergence grows with the networks' width and with the number of training images."""

from __future__ import annotations

import time
from collections.abc import Sequence

from raycv.config import StudyConfig
from raycv.data.sources import open_source
from raycv.drawing.style import png
from raycv.errors import UserError
from raycv.progress import doing, say
from raycv.run import lease, record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.registry import BY_NAME, do
from raycv.stages.study.figures.growth import growth
from raycv.stages.study.rows import Combination, at_constant_sharing, combination, slope_rows, study_rows
from raycv.stages.study.summary import summary

FORMAT = 2  # of the tables; part of their identity
EACH = ("train", "collect", "align")  # stages that are done for every combination


def study(config: StudyConfig, store: RunStore) -> None:
    """Train, collect and align for every combination, each an ordinary run below ``runs/``; write tables and figures.

    What a run has finished with the same settings is not repeated; tables and figures are, as they take seconds.
    Raises UserError, before anything starts, for bad settings and for more images than there are.
    """
    began = time.time()
    record.check_folder(store)
    training = open_source(config.data, "train", image_column=config.image_column, label_column=config.label_column)
    numbers = [len(training.first(images)) for images in config.images or (len(training),)]
    record.begin(store, study=True)
    try:
        found = _run_all(config, store, [(width, images) for images in numbers for width in config.widths])
    except UserError:
        if not store.list(record.RUNS):
            record.forget(store)
        raise
    with doing("simulating networks that share as much at every width"):
        nulls = at_constant_sharing(found)
    rows, slopes = study_rows(found, nulls), slope_rows(found, nulls)
    written = [tables.write(store, "study", rows), tables.write(store, "study_slopes", slopes)]
    written += [
        store.write(f"figures/study-{against}.png", png(growth(rows, against)))
        for against in slopes["against"].unique()
    ]
    identity = fingerprint(FORMAT, config.widths, numbers)
    facts = {"seconds": {"study": round(time.time() - began, 1)}}
    record.finish(store, "study", identity, config.model_dump(mode="json"), facts)
    say(summary(slopes))
    for uri in [*written, store.locate(record.RUNS)]:
        say(f"study: {uri}")


def _run_all(config: StudyConfig, store: RunStore, combinations: Sequence[tuple[int, int]]) -> list[Combination]:
    """The runs of all combinations, one after the other on the same Ray cluster."""
    found = []
    for number, (width, images) in enumerate(combinations, 1):
        say(f"study: combination {number} of {len(combinations)}: width {width}, {images:,} training images")
        run = RunStore(store.locate(f"{record.RUNS}/width-{width}-images-{images}"))
        for stage in map(BY_NAME.__getitem__, EACH):
            settings = config.part(stage.settings, run=run.uri, width=(width,), train_images=images)
            with lease.held(run, [stage.name]):
                do(stage, settings, run)
        found.append(combination(run, width, images))
    return found
