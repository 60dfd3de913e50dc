"""One Ray Train worker: trains one replica of one network, which is saved after every epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
    numbers = job.trained_by(ray.train.get_context().get_world_rank())
    if not all(_may_begin(job, number, replica) for number, replica in numbers):
        return
    try:
        _train(job, numbers)
    except TrainingStopped:
        return
    except UserError as mistake:
        ray.get(job.board.fail.remote(str(mistake)))
        raise
    except Exception as error:
        ray.get(job.board.note.remote(f"{type(error).__name__}: {error}"))
        raise


def _may_begin(job: TrainJob, number: int, replica: int) -> bool:
    if replica == 0:
        return bool(ray.get(job.board.begin.remote(job.specs[number].name)))
    return bool(ray.get(job.board.count.remote(number * job.workers + replica, 0)))


def _train(job: TrainJob, numbers: Sequence[tuple[int, int]]) -> None:
    """Train these replicas of networks, in turn, epoch by epoch."""
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.deterministic = True
    device = _device(job)
    replicas = [_Replica(job, number, replica, device) for number, replica in numbers]
    for epoch in range(max(one.recipe.epochs for one in replicas)):
        for one in replicas:
            if epoch >= len(one.history):
                one.train(epoch)


class _Replica:
    """One replica of one network, as far as it was trained before."""

    def __init__(self, job: TrainJob, number: int, replica: int, device: torch.device) -> None:
        self.job, self.replica, self.device = job, replica, device
        self.rank = number * job.workers + replica
        self.spec, self.recipe = job.specs[number], job.recipes[number]
        self.preprocessing = self.spec.preprocessing if self.spec.sees_images else None
        self.group = _process_group(job, number)
        self.net = _untrained(job, number, device)
        self.optimizer = make_optimizer(self.net, self.recipe, fused=is_cuda(device), adam=self.spec.tokens is not None)
        self.saved = job.saved(self.spec)
        self.history = _resume(self.saved, self.net, self.optimizer, device, self.group)
        ddp = nn.parallel.DistributedDataParallel
        self.model: nn.Module = ddp(self.net, process_group=self.group) if self.group else self.net
        self.feed = Feed(job, self.spec, self.recipe, replica, device)
        self.seen = ImageCounter(job.board, self.rank, len(self.history) * self.feed.steps * self.feed.batch)
        self.seen.send()
        if not self.history and replica == 0:
            _keep(job, self.spec, self.net, 0)

    def train(self, epoch: int) -> None:
        """Train for one epoch, counted from 0, score the network and save it."""
        began = time.time()
        loss = self._steps(epoch)
        self.seen.send()
        if epoch + 1 == self.job.fork_epoch:
            _copy_first(self.job, self.rank, self.seen, self.net, self.optimizer)
        totals = self._scored(loss)
        of_net = {"net": self.spec.name, "seed": self.spec.seed, "epoch": epoch + 1}
        self.history.append(of_net | _metrics(totals, self.job.workers, began))
        if self.replica == 0:
            self._save(epoch)

    def _steps(self, epoch: int) -> float:
        return train_epoch(
            self.model,
            self.feed.training(epoch),
            self.optimizer,
            self.recipe,
            self.preprocessing,
            epoch=epoch,
            steps=self.feed.steps,
            seed=self.job.seed(self.spec, epoch) * self.job.workers + self.replica,
            device=self.device,
            augment=self.job.condition(self.spec).is_augmented,
            report=self.seen,
        )

    def _scored(self, loss: float) -> Tensor:
        """Sums over all replicas: validation loss, correct answers, validation images, and the ``loss`` in training."""
        with autocast(self.device):
            scores = evaluate(self.net.eval(), self.feed.validation(), self.preprocessing, self.device)
        sums = (scores.losses.sum(), scores.correct.sum(), scores.images.sum())
        totals = torch.tensor([*sums, loss], dtype=torch.float64, device=for_float64(self.device))
        if self.group is not None:
            dist.all_reduce(totals, group=self.group)
        return totals

    def _save(self, epoch: int) -> None:
        job, name = self.job, self.spec.name
        _keep(job, self.spec, self.net, epoch + 1)
        self.saved.write(self.net, self.optimizer, self.history)
        tables.write_part(job.store, f"networks/{name}/metrics.parquet", "training", pd.DataFrame(self.history))
        job.board.epoch.remote(self.history[-1])


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
