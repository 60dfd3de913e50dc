"""One Ray Train worker: trains one replica of one network and adds to a checkpoint after every epoch."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import ray
import ray.train
import ray.train.torch
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.evaluation import evaluate
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.run import tables
from raycv.stages.train.board import Counter
from raycv.stages.train.feed import Feed
from raycv.stages.train.job import TrainJob
from raycv.stages.train.learning import autocast, make_optimizer, set_dropout, train_epoch


def work(settings: dict[str, TrainJob]) -> None:
    """Run one Ray Train worker. A user's mistake goes to the board, and restarted workers then end at once."""
    job = settings["job"]
    if ray.get(job.board.read.remote())["mistake"]:
        return
    try:
        _train(job)
    except UserError as mistake:
        ray.get(job.board.fail.remote(str(mistake)))
        raise


def _train(job: TrainJob) -> None:
    """Train one replica of one network."""
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.deterministic = True
    rank = ray.train.get_context().get_world_rank()
    number, replica = divmod(rank, job.workers)
    spec, recipe = job.specs[number], job.recipes[number]
    device = ray.train.torch.get_device()
    group = _process_group(job, number)
    net = build(spec.model_copy(update={"seed": job.seed(spec, 0)})).to(device)
    set_dropout(net, recipe.dropout)
    optimizer = make_optimizer(net, recipe)
    history = _resume(spec, net, optimizer)
    model: nn.Module = nn.parallel.DistributedDataParallel(net, process_group=group) if group else net
    feed = Feed(job, spec, recipe, replica)
    if not history and replica == 0:
        _keep(job, spec, net, 0)
    for epoch in range(len(history), recipe.epochs):
        began = time.time()
        counter = Counter(job.board, rank, epoch * feed.steps * feed.batch)
        loss = train_epoch(
            model,
            feed.training(epoch),
            optimizer,
            recipe,
            spec.preprocessing,
            epoch=epoch,
            steps=feed.steps,
            seed=job.seed(spec, epoch) * job.workers + replica,
            device=device,
            report=counter,
        )
        counter.send()
        if epoch + 1 == job.fork_epoch:
            _copy_first(net, optimizer)
        with autocast(device):
            scores = evaluate(net.eval(), feed.validation(), spec.preprocessing, device)
        sums = (scores.losses.sum(), scores.correct.sum(), scores.images.sum())
        totals = torch.tensor([*sums, loss], dtype=torch.float64, device=device)
        if group is not None:
            dist.all_reduce(totals, group=group)
        history.append(
            {"net": spec.name, "seed": spec.seed, "epoch": epoch + 1, **_metrics(totals, job.workers, began)}
        )
        _report(job, spec, replica, net, optimizer, history)


def _metrics(totals: Tensor, workers: int, began: float) -> dict[str, float]:
    """From the sums over all replicas of validation loss, correct answers, validation images and training loss."""
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
        job.store.write(job.kept_path(spec, epoch), safetensors.torch.save(_contiguous(net.state_dict())))


def _copy_first(net: nn.Module, optimizer: torch.optim.SGD) -> None:
    """Give all workers the first one's network: on GPUs the same training can end in different last bits."""
    momentum = [
        optimizer.state[p]["momentum_buffer"] for p in net.parameters() if "momentum_buffer" in optimizer.state[p]
    ]
    for tensor in [*net.state_dict().values(), *momentum]:
        sent = tensor.detach().contiguous()
        dist.broadcast(sent, src=0)
        tensor.copy_(sent)


def _report(
    job: TrainJob,
    spec: NetworkSpec,
    replica: int,
    net: nn.Module,
    optimizer: torch.optim.SGD,
    history: list[dict[str, Any]],
) -> None:
    """Add one network to this epoch's checkpoint, a folder with the files of all networks."""
    row = history[-1]
    if replica != 0:
        ray.train.report(row)
        return
    _keep(job, spec, net, row["epoch"])
    with tempfile.TemporaryDirectory() as folder:
        safetensors.torch.save_file(_contiguous(net.state_dict()), f"{folder}/{spec.name}.safetensors")
        safetensors.torch.save_file(_momentum(net, optimizer), f"{folder}/{spec.name}.momentum.safetensors")
        Path(folder, f"{spec.name}.json").write_text(json.dumps(history))
        ray.train.report(row, checkpoint=ray.train.Checkpoint.from_directory(folder))
    tables.write_part(job.store, f"networks/{spec.name}/metrics.parquet", "training", pd.DataFrame(history))
    job.board.epoch.remote(row)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}


def _momentum(net: nn.Module, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    state = {name: optimizer.state[p].get("momentum_buffer") for name, p in net.named_parameters()}
    return _contiguous({name: buffer for name, buffer in state.items() if buffer is not None})


def _resume(spec: NetworkSpec, net: nn.Module, optimizer: torch.optim.SGD) -> list[dict[str, Any]]:
    """Restore weights and momentum from the last checkpoint, if there is one; return the metrics of its epochs."""
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
