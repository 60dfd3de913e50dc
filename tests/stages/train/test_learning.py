"""One network's training in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from raycv.config import TrainConfig
from raycv.errors import UserError
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.evaluation import Batch, evaluate
from raycv.networks.models import build
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec
from raycv.stages.train.learning import epoch_order, make_optimizer, train_epoch
from raycv.stages.train.recipe import recipe_of

CPU = torch.device("cpu")
SPEC = NetworkSpec(
    name="net1",
    model="small-alexnet",
    classes=2,
    seed=1,
    layers=ALEXNET_LAYERS,
    preprocessing=preprocessing_of("small-alexnet"),
    width=6,
)


def batches(seed: int = 0, size: int = 16, count: int = 8) -> list[Batch]:
    """Two classes a network can tell apart: dark and bright noise."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        labels = torch.randint(0, 2, (size,), generator=generator)
        noise = torch.randint(0, 100, (size, 32, 32, 3), generator=generator)
        made.append(((noise + 150 * labels[:, None, None, None]).to(torch.uint8), labels))
    return made


def learn(epochs: int, *, start: int = 0, rate: float = 0.05) -> tuple[dict[str, torch.Tensor], list[float]]:
    recipe = replace(recipe_of("small-alexnet", TrainConfig()), epochs=epochs, learning_rate=rate)
    net = build(SPEC)
    optimizer = make_optimizer(net, recipe)
    losses = [
        train_epoch(net, batches(), optimizer, recipe, SPEC.preprocessing, epoch=e, steps=8, seed=1, device=CPU)
        for e in range(start, epochs)
    ]
    return dict(net.state_dict()), losses


def test_a_network_learns_what_can_be_learnt() -> None:
    net = build(SPEC)
    weights, losses = learn(4)
    net.load_state_dict(weights)
    assert losses[-1] < losses[0]
    assert evaluate(net, batches(seed=1), SPEC.preprocessing, CPU).top1 > 0.95


def test_the_same_seed_gives_the_same_weights() -> None:
    first, again = learn(2)[0], learn(2)[0]
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_diverging_loss_is_reported() -> None:
    def broken() -> Iterator[Batch]:
        yield torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)

    recipe = replace(recipe_of("small-alexnet", TrainConfig()), learning_rate=7.0)
    net = build(SPEC)
    with torch.no_grad():
        net.get_parameter("fc8.bias").fill_(math.nan)
    with pytest.raises(UserError, match=r"diverged in epoch 3 \(seed 5\).*--learning-rate, now 7.0"):
        train_epoch(
            net,
            broken(),
            make_optimizer(net, recipe),
            recipe,
            SPEC.preprocessing,
            epoch=2,
            steps=1,
            seed=5,
            device=CPU,
        )


def test_schedules() -> None:
    paper = recipe_of("alexnet", TrainConfig())
    assert (paper.epochs, paper.batch_size, paper.momentum, paper.weight_decay) == (90, 256, 0.9, 5e-4)
    for epoch, rate in ((0, 1e-2), (19, 1e-2), (20, 1e-3), (40, 1e-4), (89, 1e-6)):
        assert paper.rate(epoch / 90) == pytest.approx(rate)
    quick = recipe_of("small-alexnet", TrainConfig())
    rates = [quick.rate(step / 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(quick.learning_rate, rel=1e-3)
    assert rates[0] < 0.05 * quick.learning_rate
    assert rates[-1] < 1e-4 * quick.learning_rate


def test_biases_are_not_decayed() -> None:
    recipe = recipe_of("alexnet", TrainConfig())
    groups = make_optimizer(build(SPEC), recipe).param_groups
    assert [group["weight_decay"] for group in groups] == [5e-4, 0.0]
    assert all(p.ndim == 1 for p in groups[1]["params"])
    assert groups[1]["rate"] == 2.0


def test_every_epoch_has_its_own_order_of_all_images() -> None:
    first, second = epoch_order(100, seed=1, epoch=0), epoch_order(100, seed=1, epoch=1)
    assert sorted(first.tolist()) == list(range(100))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(100, seed=1, epoch=0).tolist()
    assert first.tolist() != epoch_order(100, seed=2, epoch=0).tolist()
