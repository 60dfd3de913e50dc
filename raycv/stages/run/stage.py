"""`raycv run`: all stages of a run, in order."""

from __future__ import annotations

import time

from raycv.config import RunConfig
from raycv.progress import detail, say
from raycv.run import record, tables
from raycv.run.store import RunStore
from raycv.stages.registry import OF_RUN, do


def run(config: RunConfig, store: RunStore) -> None:
    """Do every stage with its own settings among those of the run, which the run remembers as a whole."""
    began = time.time()
    for stage in OF_RUN:
        do(stage, config.part(stage.settings), store, **stage.in_run)
        record.keep(store, config.model_dump(mode="json"))
    written = record.read(store)["stages"]
    spent = {
        f"{stage.name} {what}" if what != stage.name else what: seconds
        for stage in OF_RUN
        for what, seconds in written[stage.name].get("seconds", {}).items()
    }
    total = sum(spent.values())
    shares = ", ".join(f"{what} {100 * seconds / total:.0f}%" for what, seconds in spent.items() if seconds >= 0.05)
    top1 = written["train"].get("validation_top1")
    if top1:
        say("validation top-1: " + ", ".join(f"{net} {100 * value:.2f}%" for net, value in top1.items()))
    say(f"share of the time: {shares}")
    say(f"run: finished in {time.time() - began:.0f} s")
    for name in tables.names(store):
        detail(f"    pandas.read_parquet({store.locate(f'tables/{name}')!r})")
    for path in store.list("figures"):
        detail(f"    {store.locate(path)}")
