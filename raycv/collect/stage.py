"""`raycv collect`: the driver's side of the pass. Hands out shards, keeps count, reduces, tidies up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from raycv import checkpoints, cluster, record
from raycv.collect.actors import Coding, Information, Pass, Patches, Reduction, ShardActor
from raycv.collect.collector import Groups, untrained
from raycv.collect.memory import actor_bytes
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
IDLE_PROCESS = 600 * 2**20  # bytes of a Ray worker with PyTorch loaded
FORMAT = 3  # of the partials; part of their identity


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
        config.precision,
    )
    if record.finished(store, "collect", identity):
        say(f"collect: already finished, nothing to do; the statistics are in {store.locate('statistics')}")
        return
    work = shards(len(source), folds=FOLDS, shard_size=config.shard_size)
    groups: Groups = {"nets": tuple(specs), "null": untrained(specs)}
    cluster.connect(store.uri)
    use_gpu = config.device == "gpu" or (config.device == "auto" and cluster.amount("GPU") > 0)
    needed = actor_bytes(groups, config.shard_size, len(source))
    room = int(cluster.amount("memory") // (IDLE_PROCESS + needed))
    actors = config.actors or max(1, min(int(cluster.amount("GPU" if use_gpu else "CPU")), room))
    task = Pass(store, f"statistics/{identity}", source, tuple(networks), groups, use_gpu, config.precision)
    pool = Pool(lambda: ShardActor.options(num_cpus=1, num_gpus=int(use_gpu)).remote(task), min(actors, len(work)))  # type: ignore[attr-defined]
    try:
        started, ended = _pass(pool, task, work)
        written = _reduce(pool, task, work)
    finally:
        pool.close()
    folds = Counter(item.key for item in written if isinstance(item, Reduction))
    store.write_json("statistics/statistics.json", _index(source, groups, folds, task))
    _tidy(store, task)
    facts = {
        "images": len(source),
        "actors": min(actors, len(work)),
        "seconds": {
            "start-up": round(started - began, 1),
            "pass": round(ended - started, 1),
            "reduce": round(time.time() - ended, 1),
        },
    }
    record.finish(store, "collect", identity, config.model_dump(mode="json"), facts)
    say(f"collect: {len(specs[0].layers)} layers of {len(source):,} images in {store.locate(task.folder)}")


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


def _pass(pool: Pool, task: Pass, work: list[Shard]) -> tuple[float, float]:
    """All shards that have no partial yet; returns when the first began and the last ended."""
    there = set(task.store.list(task.partials))
    missing = {shard.number: shard for shard in work if task.partial_path(shard.number) not in there}
    total = sum(len(shard.images) for shard in work)
    done = total - sum(len(shard.images) for shard in missing.values())
    if done:
        say(f"collect: taking up {len(work) - len(missing)} of {len(work)} shards done before")
    if task.pilot_path not in there:
        pool.run([0], lambda actor, first: actor.make_pilot.remote(work[first]), lambda _item, _result: None)
    began = time.time()
    rates: list[float] = []
    with Progress("collect", total, "images") as progress:
        progress.resume_at(done)

        def count(number: int, seconds: float) -> None:
            images = len(missing[number].images)
            rates.append(images / seconds)
            shards_done = len(work) - len(missing) + len(rates)
            progress.update(
                progress.done + images,
                f"{shards_done} of {len(work)} shards, {len(pool)} actors at {sum(rates) / len(rates):,.0f} images/s",
            )

        pool.run(list(missing), lambda actor, number: actor.collect.remote(missing[number]), count)
    return began, time.time()


def _reduce(pool: Pool, task: Pass, work: list[Shard]) -> list[Reduction | Patches | Information]:
    """Moments, top patches and mutual information from the partials; what an earlier driver has written stands."""
    layers, networks = task.groups["nets"][0].layers, range(len(task.networks))
    numbers = tuple(shard.number for shard in work)
    reductions = [
        reduction
        for group in task.groups
        for layer in layers
        for reduction in reductions_of(f"{group}/{layer}", work, _width(task, f"{group}/{layer}", work[0]))
    ]
    patches = [Patches(layer, numbers) for layer in layers]
    codings = [Coding(layer, network, numbers) for layer in layers for network in networks]
    pairs = [Information(layer, a, b) for layer in layers for a in networks for b in networks if a <= b]
    there = set(task.store.list(task.folder))
    steps: dict[str, tuple[list[Any], Callable[[Any, Any], Any]]] = {
        "moments": (
            [r for r in reductions if r.path(task.folder) not in there],
            lambda actor, item: actor.reduce.remote(item),
        ),
        "top patches": (
            [p for p in patches if p.path(task.folder) not in there],
            lambda actor, item: actor.rank.remote(item),
        ),
        "percentiles": (
            [c for c in codings if task.codes_path(c.layer, c.network) not in there],
            lambda actor, item: actor.encode.remote(item),
        ),
        "mutual information": (
            [p for p in pairs if p.path(task.folder) not in there],
            lambda actor, item: actor.inform.remote(item),
        ),
    }
    with Progress("reduce", sum(len(items) for items, _ in steps.values()), "parts") as progress:
        for name, (items, call) in steps.items():

            def count(_item: Any, _result: Any, name: str = name) -> None:
                progress.update(progress.done + 1, name)

            pool.run(items, call, count)
    return [*reductions, *patches, *pairs]


def reductions_of(key: str, work: list[Shard], width: int) -> list[Reduction]:
    """What has to be added up for one GROUP/LAYER of ``width`` units per network."""
    folds = FOLDS if width <= WIDE else FOLDS_OF_WIDE
    result = []
    for fold in range(folds):
        members = [shard for shard in work if shard.fold * folds // FOLDS == fold]
        numbers = tuple(shard.number for shard in members)
        result.append(Reduction(key, fold, numbers, sum(len(shard.images) for shard in members)))
    return result


def _width(task: Pass, key: str, shard: Shard) -> int:
    """Units of the widest network in one layer."""
    with task.store.open_arrays(task.partial_path(shard.number)) as arrays:
        if f"moments/{key}/widths" in arrays:
            return int(arrays[f"moments/{key}/widths"].max())
        return max(int(arrays[name].shape[1]) for name in arrays if name.startswith(f"rows/{key}/"))


def _index(source: Source, groups: Groups, folds: Counter[str], task: Pass) -> dict[str, Any]:
    """What stands where, for those who read the statistics."""
    return {
        "folder": task.folder,
        "images": len(source),
        "source": source.name,
        "groups": {group: [spec.model_dump(mode="json") for spec in specs] for group, specs in groups.items()},
        "folds": dict(folds),
    }


def _tidy(store: RunStore, task: Pass) -> None:
    """Remove what is no longer needed: partials, and the statistics of an earlier pass."""
    store.remove(task.partials)
    for path in store.list("statistics"):
        if not path.startswith((f"{task.folder}/", "statistics/statistics.json")):
            store.remove(path)
