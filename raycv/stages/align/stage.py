"""`raycv align`: correlations, matchings and their averages, from the statistics alone (paper, sections 2 and 3)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from raycv import memory
from raycv.analysis.nulls import WIDE
from raycv.config import AlignConfig
from raycv.progress import Progress, detail, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.paths import ACROSS, NETS, NULL
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.align import measured, recurring, rows, units
from raycv.stages.align.across import Across, identified
from raycv.stages.align.beyond import Untrained, untrained_nowhere
from raycv.stages.align.chance import Layer
from raycv.stages.align.epochs import ThroughTraining
from raycv.stages.align.health import broken_pairs
from raycv.stages.align.joint import joint_activations
from raycv.stages.align.matched import Pairs, informations, match
from raycv.stages.align.memory import command_need
from raycv.stages.collect import statistics
from raycv.stages.collect.statistics import Statistics

FORMAT = 5  # of the tables; part of their identity
WRITTEN = (
    "correlations",
    "mutual_information",
    "units",
    "activity",
    "matchings",
    "alignment",
    "joint_activations",
    "recurrence",
    "recurrence_by_layer",
    "measures",
    "layers",
)
WRITTEN_OF_EPOCHS = ("epochs", "partner_epochs")  # where training kept earlier epochs
WRITTEN_OF_ACROSS = ("across", "across_units")  # where every layer is compared with every one


def align(config: AlignConfig, store: RunStore) -> None:
    """Write the tables of this stage (see `raycv tables`) and check the run's health.

    Does nothing where the run already has these tables.
    """
    began = time.time()
    if is_done(config, store):
        say(f"align: already finished, nothing to do; see {store.locate('tables/alignment')}")
        return
    found = statistics.read(store)
    memory.check_command("align", command_need(*found.sizes()))
    identity, names = _identity(found), _names(found)
    written = _write(found, names)
    broken = broken_pairs(written["matchings"], found.logits) if found.logits else []
    facts: dict[str, Any] = {
        "seconds": {"align": round(time.time() - began, 1)},
        "health": {"layer": found.logits, "broken_pairs": [list(pair) for pair in broken]},
    }
    record.finish(store, "align", identity, config.model_dump(mode="json"), facts)
    for name in names:
        detail(f"align: {store.locate(f'tables/{name}')}")


def is_done(_config: AlignConfig, store: RunStore) -> bool:
    """Whether the run has the tables of its statistics."""
    found = statistics.read(store)
    return record.finished(store, "align", _identity(found)) and tables.are_whole(store, _names(found))


def _identity(found: Statistics) -> str:
    return fingerprint(FORMAT, found.folder)


def _names(found: Statistics) -> tuple[str, ...]:
    across = WRITTEN_OF_ACROSS if ACROSS in found.groups else ()
    return (*WRITTEN, *(WRITTEN_OF_EPOCHS if found.epochs else ()), *across)


def _write(found: Statistics, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Write all tables, layer by layer; returns those that are small."""
    store, specs = found.store, found.networks
    small: dict[str, list[pd.DataFrame]] = {name: [] for name in names[2:] if name not in WRITTEN_OF_ACROSS}
    informed: dict[str, list[pd.DataFrame]] = {"matchings": [], "alignment": []}  # by mutual information
    with (
        tables.Writer(store, "correlations", found.layers) as of_correlation,
        tables.Writer(store, "mutual_information", found.layers) as of_information,
        Progress("align", 3 * len(found.layers), "layers") as progress,
    ):
        for place, layer in enumerate(found.layers):
            progress.note_next(f"correlation of {layer}")
            nets, null = Layer(found, layer, NETS), Layer(found, layer, NULL) if NULL in found.groups else None
            values, pairs = nets.correlations, match(nets.correlations)
            # Several threads slow small matrices down.
            with threadpool_limits(1 if nets.group.width <= WIDE else None):
                recurs = recurring.recurrence_of(nets.group)
                by_chance = recurring.recurrence_of(null.group) if null else None
                untrained = Untrained(null, by_chance) if null and by_chance else untrained_nowhere
                averages = rows.correlation_rows(layer, specs, nets, pairs, recurs, untrained)
                if found.epochs:
                    progress.note_next(f"{layer} through training")
                    through = ThroughTraining(found, layer, nets, recurs)
                    small["epochs"].append(through.rows())
                    small["partner_epochs"].append(through.unit_rows())
                progress.advance()
                progress.note_next(f"measures of {layer}")
                small["measures"].append(measured.measure_rows(layer, nets.group, null.group if null else None))
            small["units"].append(units.unit_rows(layer, nets.group, nets.kurtosis, found.top_labels(layer)))
            small["layers"].append(units.layer_rows(layer, specs, found.widths(layer)))
            small["activity"].append(units.activity_rows(layer, specs, nets.group.moments))
            small["matchings"].append(rows.matching_rows(layer, specs, "correlation", pairs, recurs.pairs))
            small["alignment"].append(averages)
            small["recurrence"].append(recurring.recurrence_rows(layer, nets.group, recurs))
            small["recurrence_by_layer"].append(recurring.layer_rows(layer, small["units"][-1], recurs, by_chance))
            small["joint_activations"].append(joint_activations(found, place, pairs[0, 1, "semi"]))
            for part in rows.pair_rows(specs, {"value": values}):
                of_correlation.add(layer, part)
            progress.advance()
            progress.note_next(f"mutual information of {layer}")
            _add_information(found, layer, nets, pairs, informed, of_information)
            progress.advance()
    small |= _across(found)
    for name in {*WRITTEN_OF_EPOCHS, *WRITTEN_OF_ACROSS}.difference(names):  # of an earlier training or comparison
        store.remove(f"tables/{name}")
    whole = {name: _joined(name, frames + informed.get(name, [])) for name, frames in small.items()}
    for name, frame in whole.items():
        tables.write(store, name, frame)
    return whole


def _add_information(
    found: Statistics,
    layer: str,
    nets: Layer,
    pairs: Pairs,
    informed: dict[str, list[pd.DataFrame]],
    writer: tables.Writer,
) -> None:
    """The rows of one layer by mutual information; ``pairs``: its matchings by correlation."""
    information = informations(found, nets, layer)
    by_information = match(information["value"])
    informed["matchings"].append(rows.matching_rows(layer, found.networks, "mutual_information", by_information))
    informed["alignment"].append(rows.information_rows(layer, found.networks, nets, by_information, pairs))
    for part in rows.pair_rows(found.networks, information):
        writer.add(layer, part)


def _across(found: Statistics) -> dict[str, list[pd.DataFrame]]:
    """The tables of all layers against all, if they are compared; says how well layers find those of their own name."""
    if ACROSS not in found.groups:
        return {}
    compared = Across(found)
    rows = []
    with Progress("across layers", len(compared.pairs), "pairs of layers") as progress:
        for row in compared.rows():
            rows.append(row)
            progress.advance(1, f"{row['net_a']} {row['layer_a']}")
    table = pd.DataFrame(rows)
    for by in ("linear_cka", "excess"):
        right, of = identified(table, by)
        if of:
            say(f"align: by {by}, {right} of {of} layers are most like the layer of the same name in another network")
    return {"across": [table], "across_units": [compared.unit_rows()]}


def _joined(name: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all layers; an empty table keeps its columns."""
    filled = [frame for frame in frames if len(frame)]
    empty: pd.DataFrame = BY_NAME[name].schema.empty_table().to_pandas()
    return pd.concat(filled) if filled else empty
