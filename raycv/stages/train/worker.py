"""One Ray Train worker: trains one replica of one network, which is saved after every epoch."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import ray
import ray.train
import ray.train.torch
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from raycv.devices import for_float64, is_cuda, kind, of_worker
from raycv.errors import UserError
from raycv.networks.evaluation import evaluate
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.run import tables
from raycv.stages.train.feed import Feed
from raycv.stages.train.job import TrainJob
from raycv.stages.train.learning import autocast, make_optimizer, set_dropout, train_epoch
from raycv.stages.train.saved import Saved, contiguous, packed, unpack
from raycv.stages.train.training_progress import ImageCounter, TrainingStopped


def work(settings: dict[str, TrainJob]) -> None:
    """Run one Ray Train worker. A user's mistake goes to the board, and workers then end at once, restarted or not."""
    job = settings["job"]
    rank = ray.train.get_context().get_world_rank()
    number, replica = divmod(rank, job.workers)
    if replica == 0:
        may = ray.get(job.board.begin.remote(job.specs[number].name))
    else:
        may = ray.get(job.board.count.remote(rank, 0))
    if not may:
        return
    try:
        _train(job, rank)
    except TrainingStopped:
        return
    except UserError as mistake:
        ray.get(job.board.fail.remote(str(mistake)))
        raise
    except Exception as error:
        ray.get(job.board.note.remote(f"{type(error).__name__}: {error}"))
        raise


def _train(job: TrainJob, rank: int) -> None:
    """Train one replica of one network."""
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.deterministic = True
    number, replica = divmod(rank, job.workers)
    spec, recipe = job.specs[number], job.recipes[number]
    device = _device(job)
    group = _process_group(job, number)
    net = _untrained(job, number, device)
    optimizer = make_optimizer(net, recipe, fused=is_cuda(device), adam=spec.tokens is not None)
    preprocessing = spec.preprocessing if spec.sees_images else None
    saved = job.saved(spec)
    history = _resume(saved, net, optimizer, device, group)
    model: nn.Module = nn.parallel.DistributedDataParallel(net, process_group=group) if group else net
    feed = Feed(job, spec, recipe, replica, device)
    seen = ImageCounter(job.board, rank, len(history) * feed.steps * feed.batch)
    seen.send()
    if not history and replica == 0:
        _keep(job, spec, net, 0)
    for epoch in range(len(history), recipe.epochs):
        began = time.time()
        loss = train_epoch(
            model,
            feed.training(epoch),
            optimizer,
            recipe,
            preprocessing,
            epoch=epoch,
            steps=feed.steps,
            seed=job.seed(spec, epoch) * job.workers + replica,
            device=device,
            augment=job.condition(spec).is_augmented,
            report=seen,
        )
        seen.send()
        if epoch + 1 == job.fork_epoch:
            _copy_first(job, rank, seen, net, optimizer)
        with autocast(device):
            scores = evaluate(net.eval(), feed.validation(), preprocessing, device)
        sums = (scores.losses.sum(), scores.correct.sum(), scores.images.sum())
        totals = torch.tensor([*sums, loss], dtype=torch.float64, device=for_float64(device))
        if group is not None:
            dist.all_reduce(totals, group=group)
        history.append(
            {"net": spec.name, "seed": spec.seed, "epoch": epoch + 1, **_metrics(totals, job.workers, began)}
        )
        if replica == 0:
            _keep(job, spec, net, epoch + 1)
            saved.write(net, optimizer, history)
            tables.write_part(job.store, f"networks/{spec.name}/metrics.parquet", "training", pd.DataFrame(history))
            job.board.epoch.remote(history[-1])


def _device(job: TrainJob) -> torch.device:
    """Where this worker trains, as the board is told. Raises UserError for a GPU that PyTorch cannot use."""
    device = of_worker(use_gpu=job.gpus > 0)
    if is_cuda(device):
        device = ray.train.torch.get_device()  # which of those of the node, all of which a worker sees
    job.board.use.remote(kind(device))
    return device


def _untrained(job: TrainJob, number: int, device: torch.device) -> nn.Module:
    """A network as it begins."""
    spec = job.specs[number]
    layout = torch.channels_last if is_cuda(device) else torch.contiguous_format  # as tensor cores want it
    net = build(spec.model_copy(update={"seed": job.first_seed(spec)})).to(device).to(memory_format=layout)
    set_dropout(net, job.recipes[number].dropout)
    return net


def _metrics(totals: Tensor, workers: int, began: float) -> dict[str, float]:
    """From the sums over all replicas of validation loss, correct answers, validation images and training loss.

    In the place of images language models have the tokens that are to be told.
    """
    loss, correct, images, train_loss = totals.tolist()
    return {
        "train_loss": train_loss / workers,
        "validation_loss": loss / images,
        "validation_top1": correct / images,
        "seconds": time.time() - began,
    }


def _process_group(job: TrainJob, number: int) -> Any:
    """The process group of one network's replicas, None for one replica. Every worker must take part in making all."""
    if job.workers == 1:
        return None
    groups = [
        dist.new_group(list(range(first * job.workers, (first + 1) * job.workers))) for first in range(len(job.specs))
    ]
    return groups[number]


def _keep(job: TrainJob, spec: NetworkSpec, net: nn.Module, epoch: int) -> None:
    """Store the network after ``epoch``, if it is one that is kept."""
    if epoch in job.keep_epochs:
        job.store.write(job.kept_path(spec, epoch), safetensors.torch.save(contiguous(net.state_dict())))


def _copy_first(job: TrainJob, rank: int, seen: ImageCounter, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give all workers the first one's network: on GPUs the same training can end in different last bits."""
    if rank == 0 and not job.store.exists(job.forked):  # else others may have gone on from it
        job.store.write(job.forked, packed(net, optimizer, []))
    while not job.store.exists(job.forked):
        time.sleep(1)
        seen.send()
    unpack(job.store.read(job.forked), net, optimizer)


def _resume(
    saved: Saved, net: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device, group: Any
) -> list[dict[str, Any]]:
    """Restore what was saved last, if there is something; return the metrics of its epochs."""
    last = torch.tensor([0, *saved.epochs()][-1], device=device)
    if group is not None:
        dist.broadcast(last, src=dist.get_global_rank(group, 0), group=group)  # the same for all replicas
    return saved.restore(int(last), net, optimizer) if last else []
