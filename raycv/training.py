"""Training several networks that differ in their seeds, in parallel, with Ray Train.

One TorchTrainer holds all networks: worker ``rank`` trains replica ``rank % workers`` of network ``rank // workers``.
Starting a trainer costs about as much as the whole training of a small network, so there is one start for all;
with several workers per network each network is a process group of its own (DistributedDataParallel). After every
epoch each network adds its weights, momentum and metrics to one Ray Train checkpoint. A worker that dies brings the
group back at the last one, and so does the same command after the driver has died: the same fingerprint finds the
same checkpoints.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
import ray.data
import ray.train
import ray.train.torch
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from raycv import checkpoints, cluster, record, tables
from raycv.config import TrainConfig
from raycv.data import Source, open_source
from raycv.errors import UserError
from raycv.learning import (
    Batch,
    Recipe,
    epoch_order,
    evaluate,
    make_optimizer,
    recipe_of,
    set_dropout,
    train_epoch,
)
from raycv.networks import (
    ALEXNET_LAYERS,
    ALEXNETS,
    DEFAULT_WIDTH,
    NetworkSpec,
    build,
    check_model,
    load_weights,
    preprocessing_of,
)
from raycv.progress import Progress, say
from raycv.store import RunStore, parquet

IN_MEMORY = 2 * 2**30  # bytes of decoded training images up to which a local set is held in shared memory
NEIGHBOURS = 64  # images read together when a set is streamed
WORKER_FAILURES = 3


@dataclass(frozen=True)
class TrainJob:
    """What every Ray Train worker is told."""

    specs: tuple[NetworkSpec, ...]
    recipes: tuple[Recipe, ...]
    workers: int
    threads: int
    training: Source
    validation: Source
    images: Mapping[str, tuple[Any, Any]] | None  # split -> object references of (images, labels), unless streamed
    store: RunStore
    board: Any  # handle of the Board actor


def train(config: TrainConfig, store: RunStore) -> None:
    """Train or import the networks of a run and write ``networks/`` and the table ``training``.

    Does nothing where the run already has exactly these. Raises UserError for bad settings or images.
    """
    for model in config.model:
        check_model(model)
    training = open_source(config.data, "train", image_column=config.image_column, label_column=config.label_column)
    validation = open_source(
        config.data, "validation", image_column=config.image_column, label_column=config.label_column
    )
    if training.classes != validation.classes:
        raise UserError(
            f"The training images of {config.data} have {training.classes} classes and the validation images "
            f"{validation.classes}; both need the same classes."
        )
    specs = specs_of(config, training.classes)
    recipes = [recipe_of(spec.model, config) for spec in specs]
    # All networks report at the end of each epoch together, so they train for equally many.
    recipes = [replace(recipe, epochs=max(r.epochs for r in recipes)) for recipe in recipes]
    result_of = record.fingerprint(
        [spec.model_dump(mode="json") for spec in specs],
        [vars(recipe) for recipe in recipes] if not config.checkpoints else list(config.checkpoints),
        training.identity,
        validation.identity,
        config.workers,
    )
    if record.finished(store, "train", result_of):
        say(f"train: already finished, nothing to do; the networks are in {store.locate('networks')}")
        return
    if config.checkpoints:
        facts = _import(config, specs, store)
    else:
        facts = _fit(config, specs, recipes, training, validation, result_of, store)
    record.finish(store, "train", result_of, config.model_dump(mode="json"), facts)
    say(f"train: {len(specs)} networks in {store.locate('networks')}")


def specs_of(config: TrainConfig, classes: int) -> list[NetworkSpec]:
    """One description per seed. Raises UserError where a torchvision model comes without layers."""
    specs = []
    for number, seed in enumerate(config.seeds):
        model = config.model[number % len(config.model)]
        ours = model in ALEXNETS
        if config.layers is None and not ours:
            raise UserError(
                f"For the torchvision model {model!r} name the layers to compare, as module paths, with --layers."
            )
        width = config.width[number % len(config.width)] if config.width else None
        default = DEFAULT_WIDTH if model == "small-alexnet" else 96
        spec = NetworkSpec(
            name=f"net{number + 1}",
            model=model,
            classes=classes,
            seed=seed,
            layers=config.layers or ALEXNET_LAYERS,
            preprocessing=preprocessing_of(model),
            width=(width or default) if ours else None,
        )
        if spec.output not in spec.layers:  # the logits are always tapped: their matching is the health check
            spec = spec.model_copy(update={"layers": (*spec.layers, spec.output)})
        build(spec)
        specs.append(spec)
    return specs


def _import(config: TrainConfig, specs: list[NetworkSpec], store: RunStore) -> dict[str, Any]:
    loaded = [checkpoints.import_weights(uri) for uri in config.checkpoints]
    for spec, weights in zip(specs, loaded, strict=True):
        load_weights(spec, weights)
    store.remove("networks")
    for spec, weights in zip(specs, loaded, strict=True):
        checkpoints.save(store, spec, weights)
    return {"imported": list(config.checkpoints)}


def _fit(
    config: TrainConfig,
    specs: list[NetworkSpec],
    recipes: list[Recipe],
    training: Source,
    validation: Source,
    result_of: str,
    store: RunStore,
) -> dict[str, Any]:
    began = time.time()
    cluster.connect(store.uri)
    size = max(spec.preprocessing.resize for spec in specs)
    small = (len(training) + len(validation)) * size**2 * 3 <= IN_MEMORY and not config.data.startswith("s3://")
    same_size = len({spec.preprocessing.resize for spec in specs}) == 1
    workers = len(specs) * config.workers
    part = cluster.share(workers, device=config.device, spare_cpus=0 if small and same_size else 1)
    images = None
    if small and same_size:
        images = {
            split: tuple(ray.put(array) for array in source.decode(np.arange(len(source)), size))
            for split, source in (("train", training), ("validation", validation))
        }
    board = Board.remote()  # type: ignore[attr-defined]
    job = TrainJob(
        specs=tuple(specs),
        recipes=tuple(recipes),
        workers=config.workers,
        threads=part.threads,
        training=training,
        validation=validation,
        images=images,  # type: ignore[arg-type]
        store=store,
        board=board,
    )
    # Checkpoints of this very training, found again by the same command after the driver has died.
    folder, name = "networks/training", f"run-{result_of}"
    resources = {"CPU": part.cpus} | ({"GPU": part.gpus} if part.gpus else {})
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"job": job},
        # NCCL refuses two ranks on one GPU.
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if part.gpus == 1 else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, use_gpu=part.gpus > 0, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=store.locate(folder),
            failure_config=ray.train.FailureConfig(max_failures=WORKER_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    seen_per_epoch = sum(steps_of(job, recipe) * batch_of(job, recipe) * config.workers for recipe in recipes)
    watch = _Watch(board, config, recipes[0].epochs, seen_per_epoch)
    watch.start()
    try:
        result = trainer.fit()
    finally:
        watch.stop()
    state = ray.get(board.read.remote())
    if state["mistake"]:
        store.remove(folder)
        raise UserError(state["mistake"])
    _keep(result.checkpoint, specs, store)
    store.remove(folder)
    first = state["first_step"] or time.time()
    return {
        "validation_top1": {row["net"]: row["validation_top1"] for row in tables.last_epochs(store)},
        "seconds": {
            "start-up": round(first - began, 1),
            "training": round(max(state["last_report"] - first, 0.0), 1),
            "closing": round(time.time() - max(state["last_report"], first), 1),
        },
    }


def _keep(checkpoint: ray.train.Checkpoint | None, specs: list[NetworkSpec], store: RunStore) -> None:
    """Move the last checkpoint's networks to where later stages look for them."""
    if checkpoint is None:
        raise RuntimeError("Ray Train finished without a checkpoint")
    history = []
    with checkpoint.as_directory() as folder:
        for spec in specs:
            checkpoints.save(store, spec, safetensors.torch.load_file(f"{folder}/{spec.name}.safetensors"))
            history += json.loads(Path(folder, f"{spec.name}.json").read_text())
    for name in sorted({path.split("/")[1] for path in store.list("networks")}):
        if name not in {spec.name for spec in specs} | {"training"}:
            store.remove(f"networks/{name}")
    tables.write(store, "training", pd.DataFrame(history))


# -- in the workers ------------------------------------------------------------------------------------------------


def _work(settings: dict[str, TrainJob]) -> None:
    """One Ray Train worker. A user's mistake is chalked up and ends the training when the workers start again."""
    job = settings["job"]
    if ray.get(job.board.read.remote())["mistake"]:
        return
    try:
        _train(job)
    except UserError as mistake:
        ray.get(job.board.fail.remote(str(mistake)))
        raise


def _train(job: TrainJob) -> None:
    """One replica of one network."""
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.deterministic = True
    rank = ray.train.get_context().get_world_rank()
    number, replica = divmod(rank, job.workers)
    spec, recipe = job.specs[number], job.recipes[number]
    device = ray.train.torch.get_device()
    group = _process_group(job, number)
    net = build(spec).to(device)
    set_dropout(net, recipe.dropout)
    optimizer = make_optimizer(net, recipe)
    history = _resume(spec, net, optimizer)
    model: nn.Module = nn.parallel.DistributedDataParallel(net, process_group=group) if group else net
    feed = Feed(job, spec, recipe, replica)
    for epoch in range(len(history), recipe.epochs):
        began = time.time()
        counter = _Counter(job.board, rank, epoch * feed.steps * feed.batch)
        loss = train_epoch(
            model,
            feed.training(epoch),
            optimizer,
            recipe,
            spec.preprocessing,
            epoch=epoch,
            steps=feed.steps,
            seed=spec.seed * job.workers + replica,
            device=device,
            report=counter,
        )
        counter.send()
        sums, count = evaluate(net, feed.validation(), spec.preprocessing, device)
        totals = torch.tensor([*sums.tolist(), count, loss * 1.0], dtype=torch.float64, device=device)
        if group is not None:
            dist.all_reduce(totals, group=group)
        history.append(
            {
                "net": spec.name,
                "seed": spec.seed,
                "epoch": epoch + 1,
                "train_loss": float(totals[3]) / job.workers,
                "validation_loss": float(totals[0] / totals[2]),
                "validation_top1": float(totals[1] / totals[2]),
                "seconds": time.time() - began,
            }
        )
        _report(job, spec, replica, net, optimizer, history)


def _process_group(job: TrainJob, number: int) -> Any:
    """The process group of one network's replicas, None if there is one; every worker helps to make every group."""
    if job.workers == 1:
        return None
    groups = [
        dist.new_group(list(range(first * job.workers, (first + 1) * job.workers))) for first in range(len(job.specs))
    ]
    return groups[number]


def _report(
    job: TrainJob,
    spec: NetworkSpec,
    replica: int,
    net: nn.Module,
    optimizer: torch.optim.SGD,
    history: list[dict[str, Any]],
) -> None:
    """Add one network to this epoch's checkpoint; the files of all networks come together in one folder."""
    row = history[-1]
    if replica != 0:
        ray.train.report(row)
        return
    with tempfile.TemporaryDirectory() as folder:
        safetensors.torch.save_file(_contiguous(net.state_dict()), f"{folder}/{spec.name}.safetensors")
        safetensors.torch.save_file(_momentum(net, optimizer), f"{folder}/{spec.name}.momentum.safetensors")
        Path(folder, f"{spec.name}.json").write_text(json.dumps(history))
        ray.train.report(row, checkpoint=ray.train.Checkpoint.from_directory(folder))
    job.store.write(f"networks/{spec.name}/metrics.parquet", parquet(tables.typed("training", pd.DataFrame(history))))
    job.board.epoch.remote(row)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}


def _momentum(net: nn.Module, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    state = {name: optimizer.state[p].get("momentum_buffer") for name, p in net.named_parameters()}
    return _contiguous({name: buffer for name, buffer in state.items() if buffer is not None})


def _resume(spec: NetworkSpec, net: nn.Module, optimizer: torch.optim.SGD) -> list[dict[str, Any]]:
    """Bring back weights, momentum and the epochs done from the last checkpoint, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        net.load_state_dict(safetensors.torch.load_file(f"{folder}/{spec.name}.safetensors"))
        momentum = safetensors.torch.load_file(f"{folder}/{spec.name}.momentum.safetensors")
        for name, parameter in net.named_parameters():
            if name in momentum:
                restored = torch.empty_like(parameter)  # keeps the parameter's memory layout
                optimizer.state[parameter]["momentum_buffer"] = restored.copy_(momentum[name])
        history: list[dict[str, Any]] = json.loads(Path(folder, f"{spec.name}.json").read_text())
    return history


def batch_of(job: TrainJob, recipe: Recipe) -> int:
    """Images per step of one replica."""
    return max(1, recipe.batch_size // job.workers)


def steps_of(job: TrainJob, recipe: Recipe) -> int:
    """Steps per epoch: replicas must take equally many, and the images left over differ from epoch to epoch."""
    return max(1, len(job.training) // job.workers // batch_of(job, recipe))


class Feed:
    """The batches of one replica, from images held in shared memory or streamed by Ray Data."""

    def __init__(self, job: TrainJob, spec: NetworkSpec, recipe: Recipe, replica: int) -> None:
        self.job, self.spec, self.replica = job, spec, replica
        self.batch, self.steps = batch_of(job, recipe), steps_of(job, recipe)
        self.held: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if job.images is not None:
            self.held = {split: tuple(ray.get(list(refs))) for split, refs in job.images.items()}

    def training(self, epoch: int) -> Iterator[Batch]:
        """This replica's part of one epoch: full batches in an order drawn from the network's seed."""
        if self.held:
            order = epoch_order(len(self.job.training), seed=self.spec.seed, epoch=epoch).numpy()
            batches = self._from_memory("train", order[self.replica :: self.job.workers])
        else:
            blocks = -(-len(self.job.training) // NEIGHBOURS)
            shuffled = epoch_order(blocks, seed=self.spec.seed, epoch=epoch).numpy()
            order = (shuffled[:, None] * NEIGHBOURS + np.arange(NEIGHBOURS)).ravel()
            order = order[order < len(self.job.training)][self.replica :: self.job.workers]
            batches = self._streamed(self.job.training, order, shuffle_seed=self.spec.seed * 1000 + epoch)
        for step, batch in enumerate(batches):
            if step == self.steps:
                return
            yield batch

    def validation(self) -> Iterator[Batch]:
        """This replica's part of the validation images."""
        order = np.arange(len(self.job.validation))[self.replica :: self.job.workers]
        if self.held:
            return self._from_memory("validation", order)
        return self._streamed(self.job.validation, order, shuffle_seed=None)

    def _from_memory(self, split: str, order: np.ndarray) -> Iterator[Batch]:
        images, labels = self.held[split]
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            yield torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen])

    def _streamed(self, source: Source, order: np.ndarray, shuffle_seed: int | None) -> Iterator[Batch]:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True  # the same seed sees the same images in the same order
        context.enable_progress_bars = False
        resize = self.spec.preprocessing.resize
        chunks = np.array_split(order, max(1, len(order) // (8 * NEIGHBOURS)))

        board = self.job.board

        def decode(rows: Any) -> Any:
            try:
                images, labels = source.decode(rows["data"], resize)
            except UserError as mistake:  # of which Ray Data would hand on no more than a text
                ray.get(board.fail.remote(str(mistake)))
                raise
            return {"images": images, "labels": labels}

        data = ray.data.from_numpy(chunks).map_batches(decode, batch_size=None)
        shuffling: dict[str, Any] = {}
        if shuffle_seed is not None:
            shuffling = {"local_shuffle_buffer_size": 8 * self.batch, "local_shuffle_seed": shuffle_seed}
        for batch in data.iter_torch_batches(batch_size=self.batch, **shuffling):
            yield batch["images"], batch["labels"].long()


class _Counter:
    """Tells the board about once a second how many images this worker has seen."""

    def __init__(self, board: Any, rank: int, before: int) -> None:
        self.board, self.rank, self.seen = board, rank, before
        self.last = 0.0

    def __call__(self, images: int) -> None:
        self.seen += images
        if time.monotonic() - self.last > 1:
            self.send()

    def send(self) -> None:
        self.last = time.monotonic()
        self.board.count.remote(self.rank, self.seen)


# -- watching ------------------------------------------------------------------------------------------------------


@ray.remote(num_cpus=0, max_restarts=-1)
class Board:
    """Where the workers chalk up how far they are, so that the driver can show it."""

    def __init__(self) -> None:
        self.images: dict[int, int] = {}
        self.rows: list[dict[str, Any]] = []
        self.first_step: float | None = None
        self.last_report = 0.0
        self.mistake = ""

    def fail(self, mistake: str) -> None:
        self.mistake = mistake

    def count(self, rank: int, images: int) -> None:
        self.first_step = self.first_step or time.time()
        self.images[rank] = images

    def epoch(self, row: dict[str, Any]) -> None:
        self.last_report = time.time()
        self.rows.append(row)

    def read(self) -> dict[str, Any]:
        return dict(vars(self))


class _Watch(threading.Thread):
    """Shows the board while the driver waits for Ray Train."""

    def __init__(self, board: Any, config: TrainConfig, epochs: int, images_per_epoch: int) -> None:
        super().__init__(daemon=True)
        self.board, self.epochs = board, epochs
        self.networks = len(config.seeds)
        self.total = epochs * images_per_epoch
        self.ended = threading.Event()

    def stop(self) -> None:
        self.ended.set()
        self.join(timeout=5)

    def run(self) -> None:
        say(f"train: starting {self.networks} networks")
        shown: set[int] = set()
        progress: Progress | None = None
        ended = False
        while not ended:
            ended = self.ended.wait(1.0)  # after the end, one last look
            try:
                state = ray.get(self.board.read.remote(), timeout=5)
            except ray.exceptions.RayError:
                continue
            seen = min(sum(state["images"].values()), self.total)
            if progress is None and seen:
                progress = Progress("train", self.total, "images")
                progress.resume_at(seen)
            if progress is None:
                continue
            progress.update(seen)
            for epoch in sorted({row["epoch"] for row in state["rows"]} - shown):
                rows = {row["net"]: row["validation_top1"] for row in state["rows"] if row["epoch"] == epoch}
                if len(rows) == self.networks:
                    tops = "  ".join(f"{net} {100 * rows[net]:.1f}%" for net in sorted(rows))
                    progress.note(f"epoch {epoch} of {self.epochs}: validation top-1  {tops}")
                    shown.add(epoch)
        if progress is not None:
            progress.__exit__(None, None, None)
