"""`raycv align`: correlations, matchings and their averages, from the statistics alone (paper, sections 2 and 3)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pandas as pd

from raycv import memory, statistics
from raycv.config import AlignConfig
from raycv.devices import Processors
from raycv.distributed import ray_cluster
from raycv.distributed.ray_cluster import CPUS
from raycv.networks.stored import weight_correlations
from raycv.progress import Progress, detail, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.paths import ACROSS, NETS, NULL
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from raycv.stages.align import measures, recurring, rows, units, universal
from raycv.stages.align.across import Across, identified
from raycv.stages.align.averages import average_rows
from raycv.stages.align.comparison import Compared, all_compared, compare_all, pieces_of
from raycv.stages.align.epochs import ThroughTraining
from raycv.stages.align.excess import Untrained, untrained_nowhere
from raycv.stages.align.health import broken_pairs
from raycv.stages.align.joint import joint_activations
from raycv.stages.align.memory import command_need, comparison_need
from raycv.stages.align.universal import Universality
from raycv.statistics.reader import Statistics

FORMAT = 12  # of the tables; part of their identity
WRITTEN = (
    "correlations",
    "mutual_information",
    "units",
    "activity",
    "matchings",
    "alignment",
    "alignment_by_layer",
    "joint_activations",
    "recurrence",
    "recurrence_by_layer",
    "universal",
    "universal_by_layer",
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
    written = _write(found, names, config.processors)
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


def _write(found: Statistics, names: Sequence[str], wanted: Processors) -> dict[str, pd.DataFrame]:
    """Write all tables, layer by layer; returns those that are small."""
    store = found.store
    weights = weight_correlations(store, found.names)  # first: a sample that cannot be read is said before the work
    small: dict[str, list[pd.DataFrame]] = {name: [] for name in names[2:] if name not in WRITTEN_OF_ACROSS}
    informed: dict[str, list[pd.DataFrame]] = {"matchings": [], "alignment": []}  # by mutual information
    groups = [group for group in (NETS, NULL, *found.epochs.values()) if group in found.groups]
    pieces = [piece for layer in found.layers for group in groups for piece in pieces_of(found, layer, group)]
    if not all(piece.is_small for piece in pieces):
        is_wide = any(piece.is_wide for piece in pieces if not piece.is_small)
        ray_cluster.connect(store.uri, wanted if is_wide else CPUS)
        ray_cluster.check_memory("align", comparison_need(*found.sizes()))
    with (
        tables.Writer(store, "correlations", found.layers) as of_correlation,
        tables.Writer(store, "mutual_information", found.layers) as of_information,
        Progress("align", len(pieces), "comparisons") as progress,
    ):
        writers = {"correlations": of_correlation, "mutual_information": of_information}
        results = zip(pieces, compare_all(found, pieces, wanted), strict=True)
        for place, layer in enumerate(found.layers):
            progress.note_next(layer)
            by_group: dict[str, list[Compared]] = {group: [] for group in groups}
            for piece, compared in islice(results, sum(piece.layer == layer for piece in pieces)):
                for values in compared.values:
                    for part in rows.pair_rows(found.networks, values):
                        writers[values.table].add(layer, part)
                by_group[piece.group].append(replace(compared, values=()))
                progress.advance(1, layer)
            _add_rows(found, place, {group: all_compared(parts) for group, parts in by_group.items()}, small, informed)
    small |= _across(found)
    for name in {*WRITTEN_OF_EPOCHS, *WRITTEN_OF_ACROSS}.difference(names):  # of an earlier training or comparison
        store.remove(f"tables/{name}")
    whole = {name: _joined(name, frames + informed.get(name, [])) for name, frames in small.items()}
    pairs = zip(whole["alignment"]["net_a"], whole["alignment"]["net_b"], strict=True)
    whole["alignment"]["weight_correlation"] = [weights[frozenset(pair)] for pair in pairs]
    modules = {(spec.name, layer): spec.place(layer).module for spec in found.networks for layer in found.layers}
    whole["universal"] = universal.with_all_layers(whole["universal"], whole.get("across_units"), modules)
    whole["alignment_by_layer"] = average_rows(whole["alignment"], whole["measures"])
    for name, frame in whole.items():
        tables.write(store, name, frame)
    return whole


def _add_rows(
    found: Statistics,
    place: int,
    compared: Mapping[str, Compared],
    small: dict[str, list[pd.DataFrame]],
    informed: dict[str, list[pd.DataFrame]],
) -> None:
    """Add the rows of the layer at ``place``; ``compared``: by group, what its networks have in common."""
    layer, specs, nets, null = found.layers[place], found.networks, compared[NETS], compared.get(NULL)
    if found.epochs:
        by_epoch = {epoch: compared[group] for epoch, group in found.epochs.items()}
        through = ThroughTraining(found, layer, by_epoch, nets)
        small["epochs"].append(through.rows())
        small["partner_epochs"].append(through.unit_rows())
    of_null = found.groups.get(NULL, ())
    untrained = Untrained(of_null, null.pairs, null.beyond) if null else untrained_nowhere
    by_chance = (of_null, null.untrained) if null and null.untrained else None
    assert nets.measured is not None
    assert nets.informed is not None
    sums = found.sums(layer)
    small["measures"].append(measures.measure_rows(layer, specs, nets.measured, by_chance))
    small["units"].append(
        units.unit_rows(layer, specs, sums, found.kurtosis(layer), found.top_labels(layer), nets.stability)
    )
    small["layers"].append(units.layer_rows(layer, specs, sums))
    small["activity"].append(units.activity_rows(layer, specs, sums.all))
    small["matchings"].append(
        rows.matching_rows(layer, specs, "correlation", nets.pairs, nets.recurs.pairs, nets.stability)
    )
    small["alignment"].append(rows.correlation_rows(layer, specs, nets, untrained))
    small["recurrence"].append(recurring.recurrence_rows(layer, specs, nets.recurs))
    small["recurrence_by_layer"].append(
        recurring.layer_rows(layer, small["units"][-1], nets.recurs, null.recurs if null else None)
    )
    by_definition = Universality(nets.recurs, nets.published)
    shuffled = Universality(nets.recurs, nets.shuffled) if nets.shuffled else None
    before = Universality(null.recurs, null.published) if null else None
    small["universal"].append(universal.universal_rows(layer, specs, by_definition, shuffled))
    small["universal_by_layer"].append(universal.layer_rows(layer, small["units"][-1], by_definition, shuffled, before))
    small["joint_activations"].append(joint_activations(found, place, nets.pairs[0, 1, "semi"]))
    informed["matchings"].append(rows.matching_rows(layer, specs, "mutual_information", nets.informed.pairs))
    informed["alignment"].append(rows.information_rows(layer, specs, nets.informed, nets.pairs))


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
    for by in ("debiased_cka", "excess"):
        right, of = identified(table, by)
        if of:
            say(f"align: by {by}, {right} of {of} layers are most like the layer of the same name in another network")
    return {"across": [table], "across_units": [compared.unit_rows()]}


def _joined(name: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all layers; an empty table keeps its columns."""
    filled = [frame for frame in frames if len(frame)]
    empty: pd.DataFrame = BY_NAME[name].schema.empty_table().to_pandas()
    return pd.concat(filled) if filled else empty
