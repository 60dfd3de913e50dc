"""Mapping layers trained as in the paper, by stochastic gradient descent with momentum, but without batch noise.

The gradient of the paper's loss per image (`raycv.analysis.mapping`), averaged over all images, is (W G − Bᵀ) / S_b,
where G and B are the source and cross correlations. Apart from the noise of its batches, the whole training is
therefore a recursion on two matrices. As in Caffe, which the paper used, the recursion is

    V ← momentum·V − rate·(gradient + decay·sign W),    W ← W + V.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats
from raycv.analysis.mapping import MappingLayer, Pair, checked_decays
from raycv.extras import needed

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """The paper's schedule of training: its defaults are the published settings.

    The sum of the rates, divided by 1 − momentum, is 131. So the fraction exp(−131 · eigenvalue of G / S_b) of the
    random start is left in each direction of the source correlations G.

    Attributes
    ----------
    iterations : int, default 4500
        Steps in all.
    learning_rate : float, default 0.001
        Of the first steps.
    halve_every : int, default 1500
        After how many steps the rate is halved.
    momentum : float, default 0.98
        As in Caffe.
    initial_std : float, default 0.01
        Standard deviation of the first weights, before they are scaled.

    Examples
    --------
    >>> from raycv.analysis import Schedule
    >>> rates = [Schedule().learning_rate * 0.5 ** (step // Schedule().halve_every) for step in range(4500)]
    >>> round(sum(rates) / (1 - Schedule().momentum))
    131
    """

    iterations: int = 4500
    learning_rate: float = 0.001
    halve_every: int = 1500
    momentum: float = 0.98
    initial_std: float = 0.01


PUBLISHED = Schedule()


class Descent:
    """The recursion for one pair of nets and several decays at once, from one start.

    ``weights`` (D, S_b, S_a) float32 on ``device`` are those of live units. Their start is drawn from
    N(0, initial_std²) with ``seed`` and is the same for every decay. It is scaled once so that the predictions have
    the variance of the targets, as in the published code.
    """

    def __init__(
        self, pair: Pair, decays: Floats, seed: int, schedule: Schedule, device: torch.device | str = "cpu"
    ) -> None:
        with needed():
            import torch

        self.pair, self.decays, self.schedule, self.iteration = pair, decays, schedule, 0
        self.penalties = torch.from_numpy(decays.astype(np.float32)).to(device)[:, None, None]
        start = np.random.default_rng(seed).normal(0, schedule.initial_std, (pair.targets, len(pair.live_sources)))
        start = start[np.ix_(pair.live_targets, pair.live_sources)]
        variance = np.einsum("cj,cj->", start @ pair.problem.gram, start)
        if variance > 0:
            start *= np.sqrt(len(start) / variance)
        self.weights = torch.from_numpy(start.astype(np.float32)).to(device).repeat(len(decays), 1, 1)
        self.velocity, self.gradient = torch.zeros_like(self.weights), torch.empty_like(self.weights)

    def step(self, gram: Tensor, right: Tensor) -> None:
        """One iteration on second moments of z-scores: ``gram`` (S_a, S_a) and ``right`` (S_b, S_a), of live units."""
        with needed():
            import torch

        schedule, gradient = self.schedule, self.gradient
        rate = schedule.learning_rate * 0.5 ** (self.iteration // schedule.halve_every)
        with torch.inference_mode():
            flat = self.weights.view(-1, len(gram))
            torch.mm(flat, gram, out=gradient.view(flat.shape))
            gradient.sub_(right).mul_(rate / self.pair.targets)
            gradient.add_(self.weights.sign().mul_(self.penalties), alpha=rate)
            self.velocity.mul_(schedule.momentum).sub_(gradient)
            self.weights.add_(self.velocity)
        self.iteration += 1

    def layers(self) -> list[MappingLayer]:
        """The current mapping layers, with their losses and gaps on the pair's correlations."""
        pairs = zip(self.weights.cpu().double().numpy(), self.decays.tolist(), strict=True)
        return [self.pair.layer(weights, decay) for weights, decay in pairs]


def sgd_path(
    source_correlation: ArrayLike,
    cross_correlation: ArrayLike,
    decays: ArrayLike,
    *,
    seed: int = 0,
    schedule: Schedule = PUBLISHED,
    device: torch.device | str = "cpu",
) -> list[MappingLayer]:
    """Train mapping layers as the paper does, by gradient descent with momentum, but without the noise of batches.

    The gradient of the paper's loss, averaged over all images, is (W G − Bᵀ) / S_b, where G and B are the source and
    cross correlations, so the whole training is a recursion on two matrices: V ← momentum·V − rate·(gradient +
    decay·sign W), W ← W + V. Single precision, as in Caffe. Time: D · iterations products of (S_b, S_a) with (S_a,
    S_a).

    Parameters
    ----------
    source_correlation : array_like of shape (S_a, S_a)
        As in `lasso_path`.
    cross_correlation : array_like of shape (S_a, S_b)
        As in `lasso_path`.
    decays : array_like of shape (D,)
        Each 0 or more.
    seed : int, default 0
        Of the start, the same for every decay.
    schedule : Schedule
        By default the paper's.
    device : torch.device or str, default "cpu"
        Where PyTorch computes.

    Returns
    -------
    list of MappingLayer
        One per decay, in the order given. The duality gap says how far from the optimum training stopped.

    Raises
    ------
    ValueError
        As `lasso_path`.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import lasso_path, sgd_path
    >>> problem = np.eye(2), np.array([[0.8], [0.0]]), [0.1]
    >>> (trained,), (best,) = sgd_path(*problem), lasso_path(*problem)
    >>> round(trained.loss, 2), round(best.loss, 2)
    (0.18, 0.18)
    """
    with needed():
        import torch

    pair = Pair.of(source_correlation, cross_correlation)
    descent = Descent(pair, checked_decays(decays), seed, schedule, device)
    gram, right = (torch.from_numpy(m.astype(np.float32)).to(device) for m in (pair.problem.gram, pair.problem.right))
    for _ in range(schedule.iterations):
        descent.step(gram, right)
    return descent.layers()
