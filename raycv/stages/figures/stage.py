"""`raycv figures`: draw the figures of a run from its tables and, for the filters, its networks' weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from raycv import memory
from raycv.config import FiguresConfig
from raycv.drawing.short_names import shorten
from raycv.drawing.style import png
from raycv.drawing.subject import Plan, Subject
from raycv.drawing.undrawable import Undrawable
from raycv.errors import UserError
from raycv.networks.stored import first_filters, stored
from raycv.progress import Progress, detail, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.stages.figures.memory import command_need
from raycv.stages.registry import STAGES, loaded

FORMAT = 4  # of the figures; part of their identity
NOT_DRAWN = ("figures", "report")  # stages that make nothing to draw


def figures(config: FiguresConfig, store: RunStore) -> None:
    """Write ``figures/`` of a run as PNG, with title and caption as its texts. Figures are numbered as in the paper.

    Every stage says which figures a run gets from it. Does nothing where no other stage has finished since they were
    drawn.
    """
    began = time.time()
    identity = _identity(store)
    if is_done(config, store):
        say(f"figures: already finished, nothing to do; they are in {store.locate('figures')}")
        return
    subject = subject_of(store)
    memory.check_command("figures", command_need(_widths(subject)))
    plans: list[Plan] = [loaded(stage.figures)(subject) for stage in STAGES if stage.figures]
    drawn = {name: draw for plan in plans for name, draw in plan.items()}
    with Progress("figures", len(drawn), "figures") as progress:
        for name, draw in sorted(drawn.items()):
            detail(f"figures: {store.write(f'figures/{name}.png', _drawn(name, draw, subject.layers))}")
            progress.advance()
    written = {f"figures/{name}.png" for name in drawn}
    for path in store.list("figures"):
        if path not in written:
            store.remove(path)
    facts = {"seconds": {"figures": round(time.time() - began, 1)}, "figures": sorted(written)}
    record.finish(store, "figures", identity, {}, facts)


def is_done(_config: FiguresConfig, store: RunStore) -> bool:
    """Whether the run has its figures, and no other stage has finished since they were drawn."""
    noted = record.read(store)["stages"].get("figures", {}).get("figures", ())
    there = bool(noted) and set(noted) <= set(store.list("figures"))
    return there and record.finished(store, "figures", _identity(store))


def _widths(subject: Subject) -> dict[str, list[int]]:
    """Units of each network, by layer."""
    return {str(layer): rows["net"].value_counts().tolist() for layer, rows in subject.units.groupby("layer")}


def _identity(store: RunStore) -> str:
    return fingerprint(
        FORMAT, {name: done for name, done in record.read(store)["stages"].items() if name not in NOT_DRAWN}
    )


def subject_of(store: RunStore) -> Subject:
    """What the figures of a run are drawn from. Raises UserError where `raycv align` has not run yet."""
    units, matchings = tables.units_and_matchings(store)
    layers = list(dict.fromkeys(matchings["layer"]))
    networks = stored(store)
    widths = units.loc[units["layer"] == layers[0], "net"].value_counts().to_dict()
    filters = first_filters(store, networks, {str(net): int(count) for net, count in widths.items()})
    return Subject(store, layers, [network.spec.name for network in networks], units, matchings, filters)


def _drawn(name: str, draw: Callable[[], Figure], layers: Sequence[str]) -> bytes:
    try:
        shorten(figure := draw(), layers)
        return png(figure)
    except Undrawable as reason:
        raise UserError(f"The figure {name} cannot be drawn: {reason} Run the stages of the run again.") from None
