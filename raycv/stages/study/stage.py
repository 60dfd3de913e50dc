"""`raycv study`: how much convergence grows with the networks' width and with the number of training images."""

from __future__ import annotations

import time

from raycv.config import StudyConfig
from raycv.data.sources import open_source
from raycv.drawing.style import png
from raycv.progress import doing, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.cells import CellRun, do_all, settings_of
from raycv.stages.study.figures.growth import growth
from raycv.stages.study.rows import at_constant_sharing, combination, slope_rows, study_rows
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
    combinations = [(width, images) for images in numbers for width in config.widths]
    runs = [_run_of(config, store, *one) for one in combinations]
    done = do_all(store, "study", record.RUNS, runs, "study: combination")
    found = [combination(run, *one) for run, one in zip(done, combinations, strict=True)]
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


def _run_of(config: StudyConfig, store: RunStore, width: int, images: int) -> CellRun:
    run = RunStore(store.locate(f"{record.RUNS}/width-{width}-images-{images}"))
    settings = settings_of(config, EACH, run=run.uri, width=(width,), train_images=images)
    return CellRun(f"width {width}, {images:,} training images", run, settings)
