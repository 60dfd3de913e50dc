"""A layer whose units are mixed before the non-linearity: what units are worth beyond a rectified subspace.

The rotation of `raycv.analysis.nulls` mixes units after the ReLU, and a mixture of rectified units is not rectified, so
that even untrained networks, which have no units of their own, exceed it. Here the activations before the ReLU are
mixed and then rectified again,

    P = max(0, (before · Q) − t)

with Q a random orthonormal matrix and one threshold per column, so that the sorted active fractions of the columns are
those of the layer. For a network of Gaussian weights and no biases P is another such network: its excess is 0. So it is
with a batch normalisation before the ReLU, if what is mixed is what went into that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.nulls import orthonormal

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = 16  # taken to float64 at once


def rotated_before_relu(before: Tensor, active: Tensor | None = None, *, seed: int | Sequence[int] | Floats) -> Tensor:
    """P (n, S) from the activations ``before`` (n, S), float32 or float64, of all units ahead of their ReLU.

    ``active`` (S,): in how many samples each unit is active, by default those in which ``before`` is above 0; to be
    given where ``before`` went into a batch normalisation.

    Column j has exactly as many active samples, out of n and at most n - 1, as one of the units: the column that is
    positive most often of itself gets the count of the most active unit, and so on down, so that thresholds stay small.
    Columns are in no relation to the units otherwise. A column with as few active samples as a silent unit is 0
    throughout. ``seed`` fixes Q, the same on any device to rounding, or is Q.

    Raises ValueError unless ``before`` is a table of finite numbers.
    """
    import torch

    if before.ndim != 2 or not len(before) or not torch.isfinite(before.sum(dtype=torch.float64)):
        raise ValueError(f"before must be a table (n, S) of finite numbers, found one of shape {tuple(before.shape)}")
    if isinstance(seed, np.ndarray):
        q = torch.from_numpy(seed)
    else:
        normal = np.random.default_rng(seed).standard_normal((before.shape[1], before.shape[1]))
        q = orthonormal(torch.from_numpy(normal))
    q = q.to(before.device, before.dtype)
    mixed = (q.T @ before.T).T  # column by column in memory, as all that follows goes
    counts = (before > 0).sum(0) if active is None else active
    wanted = torch.empty(before.shape[1], dtype=torch.int64, device=before.device)
    wanted[(mixed > 0).sum(0).argsort(stable=True)] = counts.sort().values
    # The highest value that must not be active; a column that is always active ends at 0.
    return mixed.sub_(_smallest(mixed, (len(before) - wanted).clamp_min(1).tolist())).clamp_min_(0)


def _smallest(columns: Tensor, places: list[int]) -> Tensor:
    """(S,): of each column of (n, S) the value at one place, of which 1 is the smallest value's."""
    import torch

    if columns.device.type == "cpu":  # NumPy takes a tenth of the time there
        rows = zip(columns.T.numpy(), places, strict=True)
        return torch.from_numpy(np.array([np.partition(row, place - 1)[place - 1] for row, place in rows]))
    return torch.stack([columns[:, j].kthvalue(place).values for j, place in enumerate(places)])


def standardise(samples: Tensor) -> Tensor:
    """``samples`` (n, S) as z-scores in float32, in place where they are float32; NaN for constant columns."""
    import torch

    varies = samples.amax(0) > samples.amin(0)
    samples -= samples.mean(0, dtype=torch.float64).to(samples.dtype)
    # The smallest and the largest numbers of float32 have no squares in float32.
    parts = (samples[:, first : first + COLUMNS] for first in range(0, samples.shape[1], COLUMNS))
    deviation = torch.cat([columns.double().square().mean(0) for columns in parts]).sqrt()
    return samples.div_(torch.where(varies, deviation, torch.nan).to(samples.dtype)).float()


def sample_correlation(a: Tensor, b: Tensor, order: np.ndarray | None = None) -> Tensor:
    """Correlations (S_a, S_b) float64 of two tables of z-scores (n, S_a), (n, S_b); products in pieces of 1,024.

    With ``order`` (n,) the samples of b are taken in that order.
    """
    import torch

    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64, device=a.device)
    rows = None if order is None else torch.from_numpy(order).to(b.device)
    for start in range(0, len(a), 1024):
        part = slice(start, start + 1024)
        total += a[part].T @ (b[part] if rows is None else b[rows[part]])
    return (total / len(a)).clamp(-1, 1)
