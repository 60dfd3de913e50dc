"""Training several networks that differ in their seeds, in parallel, with Ray Train.

One TorchTrainer holds all networks: worker ``rank`` trains replica ``rank % workers`` of network ``rank // workers``.
Starting a trainer takes about as long as training a small network, so all networks share one. Where there are two or
more networks to a CPU, and as many to each, a worker trains its networks in turn, epoch by epoch: more processes would
only start more slowly. After every epoch each network saves itself in the run. Where each network has one worker, a
worker that dies is replaced alone, and its networks go on from their last epochs. With several workers per network,
each network is its own process group (DistributedDataParallel), and all workers restart, each network from its last
epoch. When the driver dies, the same command resumes there too: the same fingerprint finds the same files.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from typing import Any

import numpy as np
import pandas as pd
import ray
import ray.train
import ray.train.backend
import ray.train.torch
import safetensors.torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raycv.config import TrainConfig
from raycv.data.decoder import Decoder
from raycv.data.sources import Source
from raycv.data.texts import Documents
from raycv.data.windows import Windows
from raycv.distributed import ray_cluster
from raycv.distributed.gathering import gathered
from raycv.distributed.sizing import Gpus
from raycv.errors import StageFailed, UserError
from raycv.networks import checkpoints
from raycv.networks.spec import NetworkSpec
from raycv.progress import Progress, doing, say
from raycv.run import record, tables
from raycv.run.store import RunStore
from raycv.run.tracking import Kind, tracker
from raycv.stages.train.conditions import Condition
from raycv.stages.train.job import TrainJob, batch_of, steps_of
from raycv.stages.train.memory import worker_need
from raycv.stages.train.recipe import Recipe
from raycv.stages.train.saved import History
from raycv.stages.train.training_progress import ProgressThread, TrainingProgress
from raycv.stages.train.worker import work

SHARE = 0.5  # of a node's object store that decoded images may take; larger sets are decoded anew each epoch
WORKER_DEATHS = 3  # of workers with no epoch finished in between, after which the training is given up


FOLDER = "networks/training"  # of what networks go on from, removed once the networks are trained


def fit(
    config: TrainConfig,
    specs: list[NetworkSpec],
    recipes: list[Recipe],
    training: Source,
    validation: Source,
    conditions: list[Condition],
    result_of: str,
    store: RunStore,
) -> dict[str, Any]:
    """Train the networks ``specs`` and store them; return what run.json notes of the training.

    ``result_of`` identifies this training, so that the same command resumes it after the driver has died.
    """
    began = time.time()
    ray_cluster.connect(store.uri, config.processors)
    ray_cluster.check_memory("train", worker_need(specs, recipes, config.workers, len(training)))
    held = _fits_memory(config, specs, training, validation)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    processes, part = _split(config, len(specs))
    board = TrainingProgress.options(scheduling_strategy=here).remote(WORKER_DEATHS)  # type: ignore[attr-defined]
    job = TrainJob(
        specs=tuple(specs),
        recipes=tuple(recipes),
        workers=config.workers,
        processes=processes,
        threads=part.threads,
        gpus=part.gpus,
        training=training,
        validation=validation,
        images=_placed(specs, training, validation) if held else None,
        store=store,
        board=board,
        folder=f"{FOLDER}/{result_of}",
        readers=max(1, int(ray_cluster.amount("CPU")) // processes),
        keep_epochs=tuple(sorted(set(config.keep_epochs))),
        fork_epoch=config.fork_epoch or 0,
        conditions={spec.name: condition for spec, condition in zip(specs, conditions, strict=True)},
    )
    _watched(job, part, config.track)
    _close(state := ray.get(board.read.remote()), job)
    return {
        "validation_top1": {row["net"]: row["validation_top1"] for row in tables.last_epochs(store)},
        "images": sum(job.images_of(spec) * recipe.epochs for spec, recipe in zip(specs, recipes, strict=True)),
        "device": " and ".join(sorted(state["devices"])),
        "seconds": _seconds(began, state["first_step"], state["last_report"]),
    }


def _watched(job: TrainJob, part: ray_cluster.Share, track: Kind | None) -> None:
    """Train to the end, showing how it goes on."""
    watch = _watch(job, track)
    record.begin(job.store)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        _fit(job, part)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)  # Ray Train sets its own and does not restore this one
        watch.stop()


def _split(config: TrainConfig, networks: int) -> tuple[int, ray_cluster.Share]:
    """How many processes train, and what each of them has of the cluster."""
    gpus = _gpus(config, networks)
    processes = _processes(config, networks) if gpus is None else networks * config.workers
    return processes, ray_cluster.share(processes, gpus)


def _gpus(config: TrainConfig, networks: int) -> Gpus | None:
    """The GPUs to train on, once they are there; says how many. None on CPUs."""
    gpus = ray_cluster.gpus(config.processors)
    if gpus is None:
        return None
    gpus = gathered("train", gpus, networks * config.workers)
    say(f"train: {gpus.for_training(networks, config.workers)}")
    return gpus


def _processes(config: TrainConfig, networks: int) -> int:
    """How many processes train on CPUs: one a CPU where that leaves none idle, else one for each replica."""
    cpus = ray_cluster.whole_cpus()
    in_turn = config.workers == 1 and cpus and networks % cpus == 0
    return cpus if in_turn else networks * config.workers


def _close(state: dict[str, Any], job: TrainJob) -> None:
    """Store the networks. Raises UserError for a user's mistake on which the workers have ended.

    Raises StageFailed for a network that was given up. ``state`` is what stands on the board.
    """
    if state["mistake"]:
        _forget_without_epochs(job.store)
        raise UserError(state["mistake"])
    if state["given_up"]:
        raise _failed(state["given_up"], state["raised"] or "their processes died")
    with doing("train: storing the networks"):
        _keep(job)
        job.store.remove(FOLDER)


def _failed(whose: str, reason: str) -> StageFailed:
    reason = reason.strip().splitlines()[-1][:200].rstrip(".")
    return StageFailed(
        f"train: workers of {whose} failed {WORKER_DEATHS + 1} times without finishing an epoch ({reason}). Finished "
        "epochs are kept, and the same command goes on from here."
    )


def _watch(job: TrainJob, track: Kind | None) -> ProgressThread:
    """Show the progress of the training from now on, and tell whom the user names."""
    each = zip(job.specs, job.recipes, strict=True)
    images = sum(steps_of(job, spec, recipe) * batch_of(job, recipe) * job.workers for spec, recipe in each)
    names, told = [spec.name for spec in job.specs], tracker(track, job.store, "train")
    watch = ProgressThread(job.board, names, job.recipes[0].epochs, images, told, job.training.unit)
    watch.start()
    return watch


def _forget_without_epochs(store: RunStore) -> None:
    """Leave nothing of a training with no epoch finished; finished epochs, of this driver or an earlier one, stay."""
    if not any("/saved/" in path for path in store.list(FOLDER)):
        store.remove(FOLDER)
        store.remove_folder_if_empty(FOLDER.partition("/")[0])  # with a folder in it, the same command would be refused
        record.forget(store)


def _seconds(began: float, first_step: float | None, last_report: float) -> dict[str, float]:
    """How many seconds each part of the training took, from the times at which the parts began."""
    first = first_step or time.time()
    spent = {
        "start-up": first - began,
        "training": max(last_report - first, 0.0),
        "closing": time.time() - max(last_report, first),
    }
    return {what: round(seconds, 1) for what, seconds in spent.items()}


def _fits_memory(config: TrainConfig, specs: list[NetworkSpec], training: Source, validation: Source) -> bool:
    """Whether to decode all images once, at the one size that all networks use, and hold them in shared memory."""
    if isinstance(training.reader, Windows):
        return _sequences_fit(training, validation)
    sizes = {spec.preprocessing.resizing for spec in specs}
    decoded = (len(training) + len(validation)) * max(resize.size for resize in sizes) ** 2 * 3
    return len(sizes) == 1 and decoded <= SHARE * ray_cluster.smallest_store() and "://" not in config.data


def _sequences_fit(training: Source, validation: Source) -> bool:
    """True. Raises UserError where not all sequences of bytes can be held in shared memory."""
    assert isinstance(training.reader, Windows)
    there, context = int(SHARE * ray_cluster.smallest_store()), training.reader.sequences.shape[1]
    needed = (len(training) + len(validation)) * context
    if needed > there:
        raise UserError(
            f"The texts of {training.name} take {needed / 1e6:,.0f} MB of shared memory and {there / 1e6:,.0f} MB are "
            "there; train on fewer sequences with --train-images."
        )
    return True


def _placed_texts(specs: list[NetworkSpec], training: Source, validation: Source) -> dict[str, tuple[Any, Any]]:
    """All sequences of bytes in Ray's object store, by split, each with labels that say nothing."""
    tokens, documents = specs[0].tokens, validation.reader
    assert isinstance(training.reader, Windows)
    assert isinstance(documents, Documents)
    assert tokens is not None
    seen = tokens.encode(documents.documents(np.arange(len(documents))))[:, 0].astype(np.uint8)
    of_split = {"train": training.reader.sequences, "validation": seen}
    return {split: (ray.put(part), ray.put(np.zeros(len(part), np.int64))) for split, part in of_split.items()}


def _placed(specs: list[NetworkSpec], training: Source, validation: Source) -> dict[str, tuple[Any, Any]]:
    """All images and labels in Ray's object store, by split."""
    if isinstance(training.reader, Windows):
        return _placed_texts(specs, training, validation)
    resize, placed, seen = specs[0].preprocessing.resizing, {}, 0
    with Progress("train: decoding", len(training) + len(validation), "images") as progress:
        for split, source in (("train", training), ("validation", validation)):
            images = np.empty((len(source), resize.size, resize.size, 3), dtype=np.uint8)
            labels = np.empty(len(source), dtype=np.int64)
            decoder, start = Decoder(source, os.cpu_count() or 1), 0
            for part, of_part in decoder.in_parts(np.arange(len(source)), resize):
                images[start : start + len(part)], labels[start : start + len(part)] = part, of_part
                start += len(part)
                progress.update(seen + start)
            decoder.close()
            seen += start
            placed[split] = ray.put(images), ray.put(labels)
    return placed


class _IndependentWorkers(ray.train.backend.Backend):
    """Workers that need nothing of each other, so that Ray Train replaces one without stopping the others."""

    has_replica_groups = True


class _ApartConfig(ray.train.torch.TorchConfig):
    @property
    def backend_cls(self) -> type[ray.train.backend.Backend]:
        return _IndependentWorkers


def _fit(job: TrainJob, part: ray_cluster.Share) -> None:
    """Train to the end, also where Ray Train itself fails, as long as some epoch is finished between failures."""
    epochs = 0
    while True:
        try:
            with tempfile.TemporaryDirectory() as folder:
                _trainer(job, part, folder).fit()
            return
        except ray.train.TrainingFailedError as error:
            rows = ray.get(job.board.read.remote())["rows"]
            finished = len({(row["net"], row["epoch"]) for row in rows})
            if finished == epochs:
                raise _failed("all networks", str(error)) from None
            say("train: Ray Train failed; resuming every network from its last epoch")
            epochs = finished


def _trainer(job: TrainJob, part: ray_cluster.Share, folder: str) -> ray.train.torch.TorchTrainer:
    """Ray Train's own files go to ``folder``, where it keeps nothing that is needed again."""
    resources = {"CPU": part.cpus} | ({"GPU": part.gpus} if part.gpus else {})
    # NCCL refuses two ranks on one GPU.
    groups = ray.train.torch.TorchConfig(backend="nccl" if part.gpus == 1 else "gloo")
    return ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"job": job},
        torch_config=_ApartConfig() if job.workers == 1 else groups,
        scaling_config=ray.train.ScalingConfig(
            num_workers=job.processes, use_gpu=part.gpus > 0, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name="training",
            storage_path=folder,
            failure_config=ray.train.FailureConfig(max_failures=-1),  # the board counts those without progress
        ),
    )


def _keep(job: TrainJob) -> None:
    """Store the networks as they are now, and after the epochs that are kept, where later stages look for them."""
    history: History = []
    store, specs = job.store, job.specs
    for number, (spec, recipe) in enumerate(zip(specs, job.recipes, strict=True)):
        store.remove(f"networks/{spec.name}/epochs")
        for epoch in job.keep_epochs:
            weights = safetensors.torch.load(store.read(job.kept_path(spec, epoch)))
            checkpoints.save(store, spec, weights, number=number, epoch=epoch)
        weights, of_net = job.saved(spec).read(recipe.epochs)
        checkpoints.save(store, spec, weights, number=number)
        history += of_net
    for name in sorted({path.split("/")[1] for path in store.list("networks")}):
        if name not in {spec.name for spec in specs} | {"training"}:
            store.remove(f"networks/{name}")
    tables.write(store, "training", pd.DataFrame(history))
