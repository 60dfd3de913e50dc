"""Two networks with a known relation: every unit is a copy, or is rotated together with others."""

from __future__ import annotations

import numpy as np

from raycv.analysis.arrays import Floats


def orthonormal(size: int, rng: np.random.Generator) -> Floats:
    """A random orthonormal matrix, by numpy's QR."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    haar: Floats = q * np.sign(np.diagonal(r))
    return haar


def z_scores(x: Floats) -> Floats:
    scores: Floats = (x - x.mean(0)) / x.std(0)
    return scores


def copied(
    seed: int, units: int = 40, share: float = 1.0, noise: float = 0.0, mixing: float = 0.6, samples: int = 2000
) -> tuple[Floats, Floats]:
    """Activations (samples, units) of a, and of b: noisy z-scores of a, all but the first ``share`` of them rotated.

    ``mixing`` correlates the units of a. The units of b are in order: its unit i is a's unit i where it is a copy.
    """
    rng = np.random.default_rng(seed)
    mixed = np.eye(units) + mixing * rng.standard_normal((units, units)) / np.sqrt(units)
    a = rng.standard_normal((samples, units)) @ mixed
    b = z_scores(a) + noise * rng.standard_normal(a.shape)
    kept = int(share * units)
    b[:, kept:] = b[:, kept:] @ orthonormal(units - kept, rng)
    return a, b


def pair(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Correlations of a's units with b's, and among b's."""
    both = np.corrcoef(a, b, rowvar=False)
    return both[: a.shape[1], a.shape[1] :], both[a.shape[1] :, a.shape[1] :]
