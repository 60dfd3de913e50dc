"""How a network is trained: the paper's hyperparameters, and those of the small network. Needs no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from raycv.config import GPT, PAPERS, SMALL, TrainConfig
from raycv.networks.spec import SMALL_GPT

WINDOW = 8  # batches that are decoded ahead and mixed with one another


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with momentum, weight decay and a schedule of the learning rate.

    Language models are trained by AdamW, of which ``momentum`` is the first of its betas.

    ``schedule`` "step" is the paper's (Caffe's reference network: divided by ten every 20 of 90 epochs); "one-cycle"
    rises linearly over the first fifth and falls along a half cosine to zero (Smith & Topin, 2019). ``clip`` limits
    the gradient's norm. ``bias_rate`` multiplies the learning rate of biases (Caffe: 2). Biases are not decayed.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    momentum: float
    weight_decay: float
    dropout: float
    clip: float
    bias_rate: float

    def rate(self, progress: float) -> float:
        """The learning rate after a fraction ``progress`` in [0, 1) of the training."""
        if self.schedule == "step":
            return self.learning_rate * 0.1 ** math.floor(progress * 4.5 + 1e-9)
        rise = 0.2
        if progress < rise:
            return self.learning_rate * (0.04 + 0.96 * progress / rise)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def recipe_of(model: str, config: TrainConfig) -> Recipe:
    """The paper's hyperparameters for its network, faster ones for small networks; ``config`` overrides them."""
    small = model in ("small-alexnet", SMALL_GPT)
    usual = GPT if model == SMALL_GPT else SMALL if small else PAPERS
    return Recipe(
        epochs=config.epochs or usual.epochs,
        batch_size=config.batch_size or usual.batch_size,
        learning_rate=config.learning_rate or usual.learning_rate,
        schedule=config.schedule or usual.schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        dropout=0.0 if small else 0.5,  # which a short training has no use for
        clip=2.0 if small else math.inf,
        bias_rate=1.0 if small else 2.0,
    )
