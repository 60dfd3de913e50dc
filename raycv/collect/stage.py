"""`raycv collect`: the driver's side of the pass. Hands out shards, keeps count, reduces, tidies up."""

from __future__ import annotations

import time
from typing import Any

from raycv import checkpoints, cluster, record
from raycv.collect.actors import Pass, Reduction, ShardActor
from raycv.collect.collector import Groups, untrained
from raycv.collect.pool import Pool
from raycv.config import CollectConfig
from raycv.data import Shard, Source, open_source, shards
from raycv.errors import UserError
from raycv.networks import NetworkSpec
from raycv.progress import Progress, say
from raycv.store import RunStore

FOLDS = 8
FOLDS_OF_WIDE = 2  # for layers wider than WIDE, whose moments are large
WIDE = 1024
FORMAT = 1  # of the partials; part of their identity


def collect(config: CollectConfig, store: RunStore) -> None:
    """One pass of the validation images through all networks of a run and two untrained ones; writes ``statistics/``.

    Does nothing where the run already has these statistics. Takes up the partials that an interrupted pass of the
    same networks, images and shard size has left. Raises UserError for bad settings or images.
    """
    began = time.time()
    networks = checkpoints.stored(store)
    specs = [network.spec for network in networks]
    source = open_source(config.data, "validation", image_column=config.image_column, label_column=config.label_column)
    _check(specs, source)
    identity = record.fingerprint(
        FORMAT,
        [(n.digest, n.spec.model_dump(mode="json", exclude={"name"})) for n in networks],
        source.identity,
        config.shard_size,
    )
    if record.finished(store, "collect", identity):
        say(f"collect: already finished, nothing to do; the statistics are in {store.locate('statistics')}")
        return
    work = shards(len(source), folds=FOLDS, shard_size=config.shard_size)
    groups: Groups = {"nets": tuple(specs), "null": untrained(specs)}
    cluster.connect()
    use_gpu = config.device == "gpu" or (config.device == "auto" and cluster.amount("GPU") > 0)
    actors = config.actors or max(1, int(cluster.amount("GPU" if use_gpu else "CPU")))
    actors = min(actors, len(work))
    task = Pass(store, f"statistics/partials/{identity}", source, tuple(networks), groups, use_gpu)
    pool = Pool(lambda: ShardActor.options(num_cpus=1, num_gpus=int(use_gpu)).remote(task), actors)  # type: ignore[attr-defined]
    try:
        seconds = _run(pool, task, work)
        keys = [f"{group}/{layer}" for group in groups for layer in specs[0].layers]
        widths = {key: _width(store, key, task, work) for key in keys}
        reductions = [r for key in keys for r in reductions_of(key, work, widths[key])]
        reducing = time.time()
        with Progress("reduce", len(reductions), "folds of layers") as progress:
            pool.run(
                reductions,
                lambda actor, reduction: actor.reduce.remote(reduction),
                lambda _item, _result: progress.update(progress.done + 1),
            )
    finally:
        pool.close()
    store.write_json("statistics/statistics.json", _index(source, groups, reductions, identity))
    _tidy(store, reductions)
    facts = {
        "images": len(source),
        "actors": actors,
        "seconds": {
            "start-up": round(seconds[0] - began, 1),
            "pass": round(seconds[1] - seconds[0], 1),
            "reduce": round(time.time() - reducing, 1),
        },
    }
    record.finish(store, "collect", identity, config.model_dump(mode="json"), facts)
    say(f"collect: moments of {len(keys)} layers over {len(source):,} images in {store.locate('statistics')}")


def _check(specs: list[NetworkSpec], source: Source) -> None:
    """Refuse networks that cannot see the same images and be compared layer by layer."""
    first = specs[0]
    for spec in specs[1:]:
        if spec.layers != first.layers:
            raise UserError(
                f"The networks are unequal: {spec.name} has the layers {', '.join(spec.layers)} and {first.name} "
                f"{', '.join(first.layers)}; compare networks with the same layers."
            )
        if spec.preprocessing != first.preprocessing:
            raise UserError(
                f"The networks are unequal: {spec.name} ({spec.model}) and {first.name} ({first.model}) prepare images "
                "differently, so the same position would not show the same pixels."
            )
    if source.classes != first.classes:
        raise UserError(
            f"The images of {source.name} have {source.classes} classes and the networks {first.classes}; "
            "name the data set they were trained on with --data."
        )


def _run(pool: Pool, task: Pass, work: list[Shard]) -> tuple[float, float]:
    """All shards that have no partial yet; returns when the first began and the last ended."""
    store = task.store
    there = set(store.list(task.folder))
    missing = [shard for shard in work if task.partial_path(shard.number) not in there]
    total = sum(len(shard.images) for shard in work)
    done = total - sum(len(shard.images) for shard in missing)
    if done:
        say(f"collect: taking up {len(work) - len(missing)} of {len(work)} shards done before")
    if task.pilot_path not in there:
        pool.run([0], lambda actor, first: actor.make_pilot.remote(work[first]), lambda _item, _result: None)
    began = time.time()
    by_number = {shard.number: shard for shard in missing}
    spent: list[float] = []
    with Progress("collect", total, "images") as progress:
        progress.resume_at(done)

        def count(number: int, seconds: float) -> None:
            images = len(by_number[number].images)
            spent.append(images / seconds)
            rate = sum(spent) / len(spent)
            progress.update(progress.done + images, f"{len(pool)} actors, {rate:,.0f} images/s each")

        pool.run(list(by_number), lambda actor, number: actor.collect.remote(by_number[number]), count)
    return began, time.time()


def reductions_of(key: str, work: list[Shard], width: int) -> list[Reduction]:
    """What has to be added up for one GROUP/LAYER of ``width`` units per network."""
    folds = FOLDS if width <= WIDE else FOLDS_OF_WIDE
    result = []
    for fold in range(folds):
        members = [shard for shard in work if shard.fold * folds // FOLDS == fold]
        result.append(
            Reduction(
                key,
                fold,
                tuple(shard.number for shard in members),
                sum(len(shard.images) for shard in members),
            )
        )
    return result


def _width(store: RunStore, key: str, task: Pass, work: list[Shard]) -> int:
    """Units of the widest network in one layer."""
    with store.open_arrays(task.partial_path(work[0].number)) as arrays:
        if f"moments/{key}/widths" in arrays:
            return int(arrays[f"moments/{key}/widths"].max())
        return max(int(arrays[name].shape[1]) for name in arrays if name.startswith(f"rows/{key}/"))


def _index(source: Source, groups: Groups, reductions: list[Reduction], identity: str) -> dict[str, Any]:
    """What stands where, for those who read the statistics."""
    return {
        "identity": identity,
        "images": len(source),
        "source": source.name,
        "groups": {group: [spec.model_dump(mode="json") for spec in specs] for group, specs in groups.items()},
        "folds": {r.key: sum(other.key == r.key for other in reductions) for r in reductions},
    }


def _tidy(store: RunStore, reductions: list[Reduction]) -> None:
    """Remove what is no longer needed: partials, and statistics of layers that an earlier pass had."""
    keep = {reduction.path() for reduction in reductions} | {"statistics/statistics.json"}
    for path in store.list("statistics"):
        if path not in keep:
            store.remove(path)
    store.remove("statistics/partials")
