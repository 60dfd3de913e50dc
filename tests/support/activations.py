"""Activations that are correlated as units are, and correlations published by the paper's authors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raycv.analysis.arrays import Floats

PUBLISHED = Path(__file__).parent.parent / "published"  # by the paper's authors


def nets(seed: int, sources: int = 20, targets: int = 15, samples: int = 300) -> tuple[Floats, Floats]:
    """z-scores (samples, S_a), (samples, S_b) of rectified mixtures of common signals, correlated as units are."""
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((samples, 12)) / np.arange(1, 13) ** 0.5
    both = np.maximum(signals @ rng.standard_normal((12, sources + targets)), 0)
    both += 0.05 * rng.standard_normal(both.shape)
    both = (both - both.mean(0)) / both.std(0)
    return both[:, :sources], both[:, sources:]


def correlations(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return x.T @ x / len(x), x.T @ y / len(x)


def conv1() -> tuple[Floats, Floats]:
    stored = np.load(PUBLISHED / "conv1_correlations_recovered.npz")
    return stored["within_net1"].astype(np.float64), stored["between_net1_net2"].astype(np.float64)
