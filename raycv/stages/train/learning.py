"""Training one network in plain PyTorch, without Ray: the recipe and one epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raycv import devices
from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.evaluation import Batch, next_tokens
from raycv.stages.train.recipe import Recipe

SQUARES = 0.95  # how much of the mean square of gradients a step of AdamW keeps


def make_optimizer(net: nn.Module, recipe: Recipe, *, fused: bool = False, adam: bool = False) -> torch.optim.Optimizer:
    """SGD with two parameter groups: weights (decayed), and biases and other vectors (not decayed).

    ``fused`` updates all parameters in one kernel, for GPUs. ``adam``: AdamW in its place, for language models.
    """
    weights = [p for p in net.parameters() if p.ndim > 1]
    biases = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay, "rate": 1.0},
        {"params": biases, "weight_decay": 0.0, "rate": recipe.bias_rate},
    ]
    if adam:
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, SQUARES))
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.schedule == "one-cycle" and recipe.momentum > 0,
        fused=fused,
    )


def set_dropout(net: nn.Module, probability: float) -> None:
    """Give every dropout layer the recipe's probability."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def train_epoch(
    net: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    preprocessing: Preprocessing | None,
    *,
    epoch: int,
    steps: int,
    seed: int,
    device: torch.device,
    augment: bool = True,
    report: Callable[[int], None] = lambda images: None,
) -> float:
    """Train on ``batches`` once; return the mean training loss per image, or of sequences of tokens per token.

    Without ``preprocessing`` batches have sequences (B, T), whose every token but the first is to be told.
    All randomness (augmentation, dropout) follows from ``seed`` and ``epoch``, so an epoch that is repeated after a
    failure gives the same result. Raises UserError when the loss is no longer finite.
    """
    net.train()
    torch.manual_seed(_mix(seed, epoch))
    augmentation = torch.Generator().manual_seed(_mix(seed, epoch) + 1)
    total, count = torch.zeros((), dtype=torch.float64, device=devices.for_float64(device)), 0
    for step, (images, labels) in enumerate(batches):
        rate = recipe.rate(min((epoch + step / max(steps, 1)) / recipe.epochs, 1 - 1e-6))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        sent = images.to(device, non_blocking=True)
        with autocast(device):
            if preprocessing is None:
                logits, wanted = next_tokens(net(sent.long()), sent.long())
            else:
                inputs = preprocessing.training(sent, augmentation) if augment else preprocessing.evaluation(sent)
                logits, wanted = net(inputs), labels.to(device, non_blocking=True)
        loss = F.cross_entropy(logits.float(), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if math.isfinite(recipe.clip):
            nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
        optimizer.step()
        total += devices.in_float64(loss.detach()) * len(labels)
        count += len(labels)
        report(len(labels))
    mean = float(total) / max(count, 1)
    if not math.isfinite(mean):
        raise UserError(
            f"Training diverged in epoch {epoch + 1} (seed {seed}): the loss is {mean}. "
            f"Lower --learning-rate, now {recipe.learning_rate}."
        )
    return mean


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision (bfloat16) on a GPU or CPU whose hardware multiplies it, plain float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=devices.multiplies_bfloat16(device))


def _mix(seed: int, epoch: int) -> int:
    """A different seed for each epoch of each network."""
    return (seed * 1_000_003 + epoch) * 2


def epoch_order(images: int, *, seed: int, epoch: int) -> Tensor:
    """The order (images,) in which one network sees the training images in one epoch."""
    generator = torch.Generator().manual_seed(_mix(seed, epoch))
    return torch.randperm(images, generator=generator)
