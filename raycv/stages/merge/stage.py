"""`raycv merge`: several networks made one, their units matched, and what that costs."""

from __future__ import annotations

from raycv import statistics
from raycv.config import MergeConfig
from raycv.errors import UserError
from raycv.networks.bench import Bench
from raycv.networks.unit_graph.tracing import unit_groups_of
from raycv.progress import say
from raycv.run import record
from raycv.run.fingerprint import fingerprint
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from raycv.stages.merge.memory import actor_need
from raycv.stages.merge.merged_networks import MergedNetworks, all_together
from raycv.stages.merge.merger import TABLE, Merger
from raycv.stages.piecewise_stage import PiecewiseStage

STAGE = "merge"
FORMAT = 1  # of the table and of the networks; part of their identity
NETWORKS = "merges"  # folder of the networks that come out
FILES = ("weights.safetensors", "network.json")  # in this order: the description makes a network visible


def merge(config: MergeConfig, store: RunStore) -> None:
    """Write the table merges, and the networks that come out to ``merges/``.

    Does nothing where the run already has these; reuses the networks that an interrupted run of the stage has merged.
    Raises UserError for networks or a layer that are not there, and networks that differ in their weights.
    """
    work = _work(config, store)
    found = statistics.read(store)
    pieces = all_together(config.pairs, config.matching, found.networks)
    _check_layer(config, found.networks[0].hidden_layers)
    if is_done(config, store):
        work.say_it_is_done()
        return
    bench = Bench.of(store, found.source())
    _say_what_stays(bench)
    merger = Merger(bench, found, tuple(sorted(set(config.alphas))), config.up_to, work.results.folder)
    need = actor_need(bench, *found.sizes(), max(len(piece.networks) for piece in pieces))
    facts = work.do(pieces, merger.on, config.processors, need, len(bench.networks))
    networks = _put_in_place(store, work.results, pieces)
    work.close(config.model_dump(mode="json"), {**facts, "networks": networks})
    say(f"{STAGE}: {len(networks)} networks in {store.locate(NETWORKS)}")


def is_done(config: MergeConfig, store: RunStore) -> bool:
    """Whether the run has its networks merged with these settings."""
    noted = record.read(store)["stages"].get(STAGE, {}).get("networks", ())
    there = bool(noted) and {f"{folder}/{FILES[-1]}" for folder in noted} <= set(store.list(NETWORKS))
    return there and _work(config, store).is_done()


def _work(config: MergeConfig, store: RunStore) -> PiecewiseStage:
    of, alphas = record.fingerprint_of(store, "collect"), sorted(set(config.alphas))
    identity = fingerprint(FORMAT, of, config.pairs, alphas, config.matching, config.up_to)
    return PiecewiseStage(store, STAGE, identity, (TABLE,))


def _check_layer(config: MergeConfig, layers: tuple[str, ...]) -> None:
    if config.up_to is not None and config.up_to not in layers:
        raise UserError(
            f"--up-to was given {config.up_to!r}, and the layers that were compared are {', '.join(layers)}; name one "
            "of them."
        )


def _say_what_stays(bench: Bench) -> None:
    """Say which units cannot be permuted, or not without a change."""
    spec = bench.networks[0].spec
    groups = unit_groups_of(spec.model_copy(update={"name": "net", "seed": 0}))
    say(f"{STAGE}: {spec.model} has {len(groups.groups)} groups of units that share an order")
    near = sum(group.nearly for group in groups.groups)
    if near:
        say(
            f"note: {near} of them pass a normalisation over neighbouring channels, so that permuting them changes the "
            "logits a little (permuted_error in the table)"
        )
    for name, reason in groups.fixed.items():
        say(f"note: the units of {name} stay in their order: {reason}")


def _put_in_place(store: RunStore, results: TrialResults, pieces: list[MergedNetworks]) -> list[str]:
    """Copy the networks that came out to their folder, and remove those of earlier settings; returns their folders.

    They are not moved: until the stage is noted as finished, it may have to be done again.
    """
    wanted: dict[str, str] = {}
    for piece in pieces:
        folder = f"{results.folder}/{piece.name}"
        for path in store.list(folder):
            if path.endswith(FILES):
                wanted[path] = f"{NETWORKS}/{path.removeprefix(f'{results.folder}/')}"
    there = set(store.list(NETWORKS))
    for path, target in sorted(wanted.items(), key=lambda one: one[0].endswith(FILES[-1])):
        store.write(target, store.read(path))
    for path in there.difference(wanted.values()):
        store.remove(path)
    return sorted(target.rpartition("/")[0] for target in wanted.values() if target.endswith(FILES[-1]))
