"""`raycv collect`: the driver's side of the pass. Hands out shards, shows progress, reduces, cleans up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from raycv import statistics, telemetry
from raycv.config import CollectConfig
from raycv.data.shards import Shard, shards
from raycv.data.sources import Source
from raycv.distributed import ray_cluster
from raycv.distributed.pool import Pool
from raycv.errors import UserError
from raycv.networks.catalogue import check_buildable
from raycv.networks.recordings import check_samples, validation_of
from raycv.networks.sizes import check_sizes, sizes_of
from raycv.networks.spec import NetworkSpec, check_alike
from raycv.networks.stored import StoredNetwork, kept_epochs, stored, weights_content
from raycv.progress import Progress, doing, say
from raycv.run import record
from raycv.run.fingerprint import fingerprint
from raycv.run.names import is_ours
from raycv.run.paths import ACROSS, EPOCH, NETS, STATISTICS, Key
from raycv.run.store import RunStore
from raycv.stages.collect.actors import ShardActor
from raycv.stages.collect.collector import kinds_of
from raycv.stages.collect.memory import actor_need
from raycv.stages.collect.planned import groups_of
from raycv.stages.collect.task import Chance, Information, LayerSamples, Pass, Patches, Reduction, Summing, Testing
from raycv.statistics.folding import FOLDS, folds_of, has_own_sums
from raycv.statistics.index import FORMAT
from raycv.statistics.parts import information_blocks, others_by_part, parts

Epochs = Mapping[int, Sequence[StoredNetwork]]  # networks as they were after an earlier epoch, by epoch


def collect(config: CollectConfig, store: RunStore) -> None:
    """One pass of the validation images through all networks of a run and some untrained ones; writes ``statistics/``.

    The networks as they were after the epochs that training kept go through it too, as groups of their own.

    Does nothing where the run already has these statistics. Reuses the partials that an interrupted pass of the same
    networks, images and shard size has left. Raises UserError for bad settings or images.
    """
    began = time.time()
    networks, epochs = stored(store), kept_epochs(store)
    specs = tuple(network.spec for network in networks)
    source = _source(config, specs)
    _check(specs, source)
    _check_epochs(epochs, networks)
    identity = _identity(networks, epochs, source, config)
    if _is_done(store, identity):
        say(f"collect: already finished, nothing to do; the statistics are in {store.locate('statistics')}")
        return
    work = shards(len(source), folds=FOLDS, shard_size=config.shard_size)
    all_stored = (*networks, *chain(*epochs.values()))
    for network in all_stored:  # the actors read them too, but would say so only once they have started
        if not network.spec.is_recorded:
            weights_content(store, network)
    ray_cluster.connect(store.uri, config.processors)
    gpus = ray_cluster.gpus(config.processors)
    groups = groups_of(specs) | {f"{EPOCH}{epoch}": tuple(n.spec for n in nets) for epoch, nets in epochs.items()}
    of_config = gpus is not None, config.precision, config.keep_rare
    task = Pass(store, f"statistics/{identity}", source, all_stored, groups, *of_config)
    _drop_damaged(task)
    need = actor_need(task.groups, config.shard_size, len(source))
    places = ray_cluster.Places("collect", need, len(work), len(specs), gpus, config.actors).checked()
    create = ShardActor.options(num_cpus=1, num_gpus=int(task.use_gpu)).remote  # type: ignore[attr-defined]
    pool = Pool(lambda: create(task), places)
    try:
        started, ended = _pass(pool, task, work)
        folds = _reduce(pool, task, work)
    finally:
        pool.close()
    store.write_json(STATISTICS, _index(task, folds))
    _tidy(task)
    seconds = {"start-up": started - began, "pass": ended - started, "reduce": time.time() - ended}
    facts = {
        "images": len(source),
        "actors": pool.most,
        "device": pool.device,
        "seconds": {what: round(value, 1) for what, value in seconds.items()},
    }
    record.finish(store, "collect", identity, config.model_dump(mode="json"), facts)
    layers = len(specs[0].layers)
    say(f"collect: {layers} layers of {len(source):,} {source.unit} in {store.locate(task.folder)}")


def is_done(config: CollectConfig, store: RunStore) -> bool:
    """Whether the run has the statistics of its networks for these images and settings."""
    networks = stored(store)
    source = _source(config, [network.spec for network in networks])
    return _is_done(store, _identity(networks, kept_epochs(store), source, config))


def _source(config: CollectConfig, specs: Sequence[NetworkSpec]) -> Source:
    columns = {"image_column": config.image_column, "label_column": config.label_column}
    return validation_of(specs, config.data, text_column=config.text_column, **columns)


def _identity(networks: Sequence[StoredNetwork], epochs: Epochs, source: Source, config: CollectConfig) -> str:
    """The name of this pass: the same networks, images and settings give the same statistics."""
    return fingerprint(
        FORMAT,
        [(n.digest, n.spec.model_dump(mode="json", exclude={"name"})) for n in networks],
        source.identity,
        config.shard_size,
        config.precision,
        config.keep_rare,
        *[[network.digest for network in at_epoch] for at_epoch in epochs.values()],
    )


def _check_epochs(epochs: Epochs, networks: Sequence[StoredNetwork]) -> None:
    """Raise UserError where a network is missing among those of an epoch that training kept."""
    for epoch, at_epoch in epochs.items():
        if len(at_epoch) != len(networks):
            raise UserError(
                f"The run holds {len(at_epoch)} of its {len(networks)} networks as they were after epoch {epoch}; "
                "train it again."
            )


def _is_done(store: RunStore, identity: str) -> bool:
    """Whether the run has these statistics, with all their files."""
    noted = record.finished(store, "collect", identity) and store.exists(STATISTICS)
    return noted and statistics.read(store).is_complete()


def _check(specs: tuple[NetworkSpec, ...], source: Source) -> None:
    """Raise UserError unless the networks have the same layers, prepare images alike and suit the classes."""
    check_alike(specs)
    check_buildable(specs)
    check_sizes(specs)
    check_samples(specs, len(source))
    wrong = next((spec for spec in specs if not spec.has_own_outputs and spec.classes != source.classes), None)
    if wrong is not None:
        raise UserError(
            f"The images of {source.name} have {source.classes} classes and the networks {wrong.classes}; "
            "name the data set they were trained on with --data."
        )


def _drop_damaged(task: Pass) -> None:
    """Remove what an interrupted pass has left and is no longer as it was, so that it is computed again."""
    left = [path for path in task.store.list(task.folder) if is_ours(path)]
    damaged = [path for path in left if not task.is_whole(path)]
    for path in damaged:
        task.store.remove(path)
    if damaged:
        say(f"collect: computing again what an interrupted pass left damaged: {', '.join(damaged)}")


def _pass(pool: Pool, task: Pass, work: list[Shard]) -> tuple[float, float]:
    """Collect all shards that have no partial yet; return the times at which this began and ended."""
    there = set(task.store.list(task.partials))
    missing = {shard.number: shard for shard in work if task.partial_path(shard.number) not in there}
    total = sum(len(shard.images) for shard in work)
    done = total - sum(len(shard.images) for shard in missing.values())
    if done:
        say(f"collect: {len(work) - len(missing)} of {len(work)} shards are already done")
    if task.pilot_path not in there:
        with doing("collect: starting the actors"):
            pool.run([0], lambda actor, first: actor.make_pilot.remote(work[first]), lambda _item, _result: None)
    began = time.time()
    rates: list[float] = []
    with Progress("collect", total, task.source.unit) as progress:
        progress.resume_at(done)

        def count(number: int, seconds: float) -> None:
            images = len(missing[number].images)
            rates.append(images / seconds)
            telemetry.count("raycv_shards")
            telemetry.count("raycv_images", images, stage="collect")
            shards_done = len(work) - len(missing) + len(rates)
            progress.update(
                progress.done + images,
                f"{shards_done} of {len(work)} shards, {len(pool)} actors at {sum(rates) / len(rates):,.0f} images/s",
            )

        pool.run(list(missing), lambda actor, number: actor.collect.remote(missing[number]), count)
    return began, time.time()


@dataclass(frozen=True)
class _Step:
    """One step of the reduction: ``call(actor, item)`` does each of ``items``."""

    name: str
    items: list[Any]
    call: Callable[[Any, Any], Any]


def _reduce(pool: Pool, task: Pass, work: list[Shard]) -> dict[Key, int]:
    """Compute moments, top patches, mutual information and chance from the partials; return the folds of every layer.

    Results that an earlier driver has written are kept.
    """
    widths = _widths(task)
    keys = list(widths)
    reductions = [one for key in keys for one in reductions_of(key, work, widths[key])]
    layers, members = task.groups[NETS][0].layers, {key: range(len(widths[key])) for key in keys}
    numbers = tuple(shard.number for shard in work)
    patches = [Patches(layer, numbers) for layer in layers]
    drawn = [key for key in keys if key.group != ACROSS]
    drawings = [LayerSamples(key, network, numbers) for key in drawn for network in members[key]]
    chances = [
        Chance(key, network, number, others)
        for key in drawn
        for network in members[key]
        for number, others in enumerate(others_by_part(widths[key], network))
    ]
    images = len(task.source)
    tests = [
        Testing(one.key, one.network, one.number, one.others, folds_of(widths[one.key]), widths[one.key], images)
        for one in chances
        if "tested" in kinds_of(one.key)
    ]
    pairs = [Information(layer, block) for layer in layers for block in information_blocks(widths[Key(NETS, layer)])]
    sums = [one for key in keys for one in sums_of(key, work, widths[key])]
    there = set(task.store.list(task.folder))

    def missing(items: list[Any]) -> list[Any]:
        return [item for item in items if item.path(task.folder) not in there]

    undrawn = [drawing for drawing in drawings if not there.issuperset(drawing.paths(task))]
    steps = (
        _Step("moments", missing(reductions), lambda actor, item: actor.reduce.remote(item)),
        _Step("sums", missing(sums), lambda actor, item: actor.sum.remote(item)),
        _Step("top patches", missing(patches), lambda actor, item: actor.rank.remote(item)),
        _Step("samples", undrawn, lambda actor, item: actor.draw.remote(item)),
        _Step("mutual information", missing(pairs), lambda actor, item: actor.inform.remote(item)),
        _Step("chance", missing(chances), lambda actor, item: actor.chance.remote(item)),
        _Step("tests", missing(tests), lambda actor, item: actor.test.remote(item)),
    )
    with Progress("reduce", sum(len(step.items) for step in steps), "parts") as progress:
        for step in steps:
            progress.note_next(step.name)
            pool.run(step.items, step.call, lambda _item, _result: progress.advance())
    return {reduction.key: reduction.fold + 1 for reduction in reductions}


def reductions_of(key: Key, work: list[Shard], widths: tuple[int, ...]) -> list[Reduction]:
    """The reductions, by fold and part, of one layer of one group whose networks have ``widths`` units."""
    folds = folds_of(widths)
    result = []
    for fold in range(folds):
        members = [shard for shard in work if shard.fold * folds // FOLDS == fold]
        numbers = tuple(shard.number for shard in members)
        images = sum(len(shard.images) for shard in members)
        for number, part in enumerate(parts(widths)):
            result.append(Reduction(key, fold, number, part, widths, numbers, images))
    return result


def sums_of(key: Key, work: list[Shard], widths: tuple[int, ...]) -> list[Summing]:
    """The sums of single units, by fold of eight, of one layer of one group; none where products are in as many."""
    if not has_own_sums(widths):
        return []
    members = [tuple(shard.number for shard in work if shard.fold == fold) for fold in range(FOLDS)]
    return [Summing(key, fold, widths, numbers) for fold, numbers in enumerate(members)]


def _widths(task: Pass) -> dict[Key, tuple[int, ...]]:
    """Units of every network in every layer of every group."""
    return {
        Key(group, layer): tuple(sizes_of(spec).layers[layer][0] for spec in specs)
        for group, specs in task.groups.items()
        for layer in specs[0].layers
    }


def _index(task: Pass, folds: Mapping[Key, int]) -> dict[str, Any]:
    """What is stored where, for readers of the statistics."""
    return {
        "format": FORMAT,
        "folder": task.folder,
        "images": len(task.source),
        "source": task.source.name,
        "classes": task.source.classes,
        "keep_rare": task.keep_rare,
        "groups": {group: [spec.model_dump(mode="json") for spec in specs] for group, specs in task.groups.items()},
        "folds": {str(key): count for key, count in folds.items()},
        "widths": {str(key): widths for key, widths in _widths(task).items()},
    }


def _tidy(task: Pass) -> None:
    """Remove the partials and the statistics of earlier passes."""
    task.store.remove(task.partials)
    for path in task.store.list("statistics"):
        if not path.startswith((f"{task.folder}/", STATISTICS)):
            task.store.remove(path)
