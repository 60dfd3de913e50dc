"""The paper's way to a mapping layer: stochastic gradient descent with momentum, here in expectation.

The gradient of the paper's loss per image (`raycv.analysis.mapping`), averaged over all images, is (W G − Bᵀ) / S_b,
with G and B the source and cross correlations. So the whole training, but for the noise of its batches, is a
recursion on two matrices. As in Caffe, which the paper used, it is

    V ← momentum·V − rate·(gradient + decay·sign W),    W ← W + V.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycv.analysis.mapping import MappingLayer, Pair, checked_decays


@dataclass(frozen=True)
class Schedule:
    """The paper's: 4,500 iterations with momentum 0.98 and a learning rate of 0.001, halved every 1,500.

    The rates add up to 131 after division by 1 − momentum, so exp(−131 · eigenvalue of G / S_b) of the random start
    is left in each direction. ``initial_std`` is that of the first weights, before they are scaled.
    """

    iterations: int = 4500
    learning_rate: float = 0.001
    halve_every: int = 1500
    momentum: float = 0.98
    initial_std: float = 0.01


PUBLISHED = Schedule()


def sgd_path(
    source_correlation: ArrayLike,
    cross_correlation: ArrayLike,
    decays: ArrayLike,
    *,
    seed: int = 0,
    schedule: Schedule = PUBLISHED,
) -> list[MappingLayer]:
    """What the paper's training expects to find, one mapping layer per decay in the order given.

    source_correlation (S_a, S_a), cross_correlation (S_a, S_b), dead units, results and errors raised are those of
    `raycv.analysis.mapping.lasso_path`; the duality gap says how far training stopped from the optimum. The weights
    start as N(0, initial_std²), scaled once so that the predictions have the variance of the targets (as the
    published code did). They are drawn from ``seed``, the same for every decay. Single precision, as in Caffe.
    Time: D · iterations products of (S_b, S_a) with (S_a, S_a).
    """
    pair = Pair.of(source_correlation, cross_correlation)
    start = np.random.default_rng(seed).normal(0, schedule.initial_std, (pair.targets, len(pair.live_sources)))
    start = start[np.ix_(pair.live_targets, pair.live_sources)]
    gram, right = pair.problem.gram, pair.problem.right
    variance = np.einsum("cj,cj->", start @ gram, start)
    if variance > 0:
        start *= np.sqrt(len(start) / variance)
    layers = []
    for decay in checked_decays(decays).tolist():
        weights = _descend(
            start.astype(np.float32),
            (gram / pair.targets).astype(np.float32),
            (right / pair.targets).astype(np.float32),
            np.float32(decay),
            schedule,
        )
        layers.append(pair.layer(weights.astype(np.float64), decay))
    return layers


def _descend(
    weights: NDArray[np.float32],
    gram: NDArray[np.float32],
    right: NDArray[np.float32],
    decay: np.float32,
    schedule: Schedule,
) -> NDArray[np.float32]:
    """Run the schedule from ``weights`` (S_b, S_a), which is overwritten; ``gram`` and ``right`` are divided by S_b."""
    velocity, gradient, penalty = np.zeros_like(weights), np.empty_like(weights), np.empty_like(weights)
    momentum = np.float32(schedule.momentum)
    for iteration in range(schedule.iterations):
        rate = np.float32(schedule.learning_rate * 0.5 ** (iteration // schedule.halve_every))
        np.matmul(weights, gram, out=gradient)
        gradient -= right
        if decay > 0:
            np.sign(weights, out=penalty)
            penalty *= decay
            gradient += penalty
        gradient *= rate
        velocity *= momentum
        velocity -= gradient
        weights += velocity
    return weights
