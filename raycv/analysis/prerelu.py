"""A layer whose units are mixed before the non-linearity: what units are worth beyond a rectified subspace.

The rotation of `raycv.analysis.nulls` mixes units after the ReLU, and a mixture of rectified units is not rectified, so
that even untrained networks, which have no units of their own, exceed it. Here the activations before the ReLU are
mixed and then rectified again,

    P = max(0, (before · Q) − t)

with Q a random orthonormal matrix and one threshold per column, so that the sorted active fractions of the columns are
those of the layer. For a network of Gaussian weights and no biases P is another such network: its excess is 0. So it is
with a batch normalisation before the ReLU, if what is mixed is what went into that.

Any other pointwise function f has no thresholds, and what it does to a column depends on the column's mean and
deviation. So every column gets those of one of the units,

    P = f(σ · z(before · Q) + μ)

with z the z-scores of a column. Units are mixed as their weights of length 1 give them, where these are known: else
those of large weights would make up all mixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.nulls import orthonormal
from raycv.extras import needed

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = 16  # taken to float64 at once


def rotated_before_relu(before: Tensor, active: Tensor | None = None, *, seed: int | Sequence[int] | Floats) -> Tensor:
    """Mix all units of a layer before its ReLU, and rectify the mixtures: one draw of the null before the ReLU.

    The activations go through one random orthonormal matrix Q. Every column then gets the threshold at which it has
    exactly as many active samples, at most n - 1, as one of the units: the column that is positive most often of itself
    gets the count of the most active unit, and so on down, so that thresholds stay small. Columns are in no relation to
    the units otherwise. A column with as few active samples as a silent unit is 0 throughout.

    Parameters
    ----------
    before : Tensor of shape (n, S)
        Activations of all units ahead of their ReLU, float32 or float64.
    active : Tensor of shape (S,), optional
        In how many samples each unit is active. None: those in which ``before`` is above 0; to be given where
        ``before`` went into a batch normalisation.
    seed : int, sequence of int, or array of shape (S, S)
        Fixes Q, the same on any device to rounding, or is Q.

    Returns
    -------
    Tensor of shape (n, S)
        The rectified mixtures, of the type of ``before``.

    Raises
    ------
    ValueError
        Unless ``before`` is a table of finite numbers.

    Examples
    --------
    >>> import torch
    >>> from raycv.analysis import rotated_before_relu
    >>> before = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([1.0, 0.0, -1.0])
    >>> mixed = rotated_before_relu(before, seed=0)
    >>> sorted((mixed > 0).sum(0).tolist()) == sorted((before > 0).sum(0).tolist())
    True
    """
    with needed():
        import torch

    mixed = _mixed(before, seed)
    counts = (before > 0).sum(0) if active is None else active
    wanted = torch.empty(before.shape[1], dtype=torch.int64, device=before.device)
    wanted[(mixed > 0).sum(0).argsort(stable=True)] = counts.sort().values
    # The highest value that must not be active; a column that is always active ends at 0.
    return mixed.sub_(_smallest(mixed, (len(before) - wanted).clamp_min(1).tolist())).clamp_min_(0)


def rotated_before(
    before: Tensor,
    function: Callable[[Tensor], Tensor],
    like: Tensor | None = None,
    *,
    seed: int | Sequence[int] | Floats,
) -> tuple[Tensor, Tensor]:
    """Mix all units of a layer before a pointwise function, and apply it: one draw of the null before it.

    As `rotated_before_relu`, for functions other than a ReLU. Every column gets the mean and deviation of one of the
    units before the function: of the one whose mean, in deviations, has the same place among the units' as its own
    among the columns'.

    Parameters
    ----------
    before : Tensor of shape (n, S)
        Activations of all units ahead of the function, float32 or float64.
    function : callable
        Of a tensor of any shape, value by value, such as ``torch.tanh``.
    like : Tensor of shape (2, S), optional
        Mean and deviation of every unit. None: those of ``before``; to be given where ``before`` are units of other
        scales, as weights of length 1 give them.
    seed : int, sequence of int, or array of shape (S, S)
        Fixes the orthonormal matrix, the same on any device to rounding, or is it.

    Returns
    -------
    mixed : Tensor of shape (n, S)
        The function of the mixtures.
    active : Tensor of shape (S,)
        In how many samples each column is above 0 ahead of the function, 0 for constant ones: how active it is.

    Raises
    ------
    ValueError
        Unless ``before`` is a table of finite numbers.

    Examples
    --------
    >>> import torch
    >>> from raycv.analysis import rotated_before
    >>> before = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([3.0, 0.0, -3.0])
    >>> mixed, active = rotated_before(before, torch.tanh, seed=0)
    >>> mixed.mean(0).sort().values.round().tolist()
    [-1.0, 0.0, 1.0]
    """
    with needed():
        import torch

    mixed = _mixed(before, seed)
    (mean, deviation), (to_mean, to_deviation) = moments_of(mixed), moments_of(before) if like is None else like
    places = torch.empty(len(mean), dtype=torch.int64, device=mean.device)
    places[_by_size(mean, deviation)] = _by_size(to_mean, to_deviation)
    factor = torch.where(deviation > 0, to_deviation[places] / deviation, 0)
    mixed.sub_(mean.to(mixed.dtype)).mul_(factor.to(mixed.dtype)).add_(to_mean[places].to(mixed.dtype))
    active = (mixed > 0).sum(0)
    active[factor == 0] = 0
    for first in range(0, mixed.shape[1], COLUMNS):
        mixed[:, first : first + COLUMNS] = function(mixed[:, first : first + COLUMNS])
    return mixed, active


def moments_of(samples: Tensor) -> Tensor:
    """(2, S) float64: mean and deviation of every column of ``samples`` (n, S), deviation 0 for constant ones."""
    with needed():
        import torch

    parts = (samples[:, first : first + COLUMNS].double() for first in range(0, samples.shape[1], COLUMNS))
    found = torch.cat([torch.stack([columns.mean(0), columns.std(0, correction=0)]) for columns in parts], 1)
    found[1, samples.amax(0) == samples.amin(0)] = 0
    return found


def _by_size(mean: Tensor, deviation: Tensor) -> Tensor:
    """The columns in the order of their means in deviations; constant ones are first."""
    with needed():
        import torch

    return torch.where(deviation > 0, mean / deviation, -torch.inf).argsort(stable=True)


@dataclass(frozen=True)
class Mixable:
    """A layer's units ahead of their non-linearity, to be mixed again and again.

    ``before`` (n, S): what is mixed. ``function``: None for a ReLU; then ``like`` (S,) says in how many samples each
    unit is active, for others it is (2, S), mean and deviation, as in `rotated_before_relu` and `rotated_before`.
    """

    before: Tensor
    function: Callable[[Tensor], Tensor] | None = None
    like: Tensor | None = None

    def mixed(self, seed: int | Sequence[int] | Floats) -> tuple[Tensor, Tensor]:
        """P (n, S), and in how many samples each column is active (S,)."""
        if self.function is None:
            mixed = rotated_before_relu(self.before, self.like, seed=seed)
            return mixed, (mixed > 0).sum(0)
        return rotated_before(self.before, self.function, self.like, seed=seed)


def _mixed(before: Tensor, seed: int | Sequence[int] | Floats) -> Tensor:
    """``before`` · Q, column by column in memory, as all that follows goes."""
    with needed():
        import torch

    if before.ndim != 2 or not len(before) or not torch.isfinite(before.sum(dtype=torch.float64)):
        raise ValueError(f"before must be a table (n, S) of finite numbers, found one of shape {tuple(before.shape)}")
    if isinstance(seed, np.ndarray):
        q = torch.from_numpy(seed)
    else:
        normal = np.random.default_rng(seed).standard_normal((before.shape[1], before.shape[1]))
        q = orthonormal(torch.from_numpy(normal))
    q = q.to(before.device, before.dtype)
    return (q.T @ before.T).T


def _smallest(columns: Tensor, places: list[int]) -> Tensor:
    """(S,): of each column of (n, S) the value at one place, of which 1 is the smallest value's."""
    with needed():
        import torch

    if columns.device.type == "cpu":  # NumPy takes a tenth of the time there
        rows = zip(columns.T.numpy(), places, strict=True)
        return torch.from_numpy(np.array([np.partition(row, place - 1)[place - 1] for row, place in rows]))
    return torch.stack([columns[:, j].kthvalue(place).values for j, place in enumerate(places)])


def standardise(samples: Tensor) -> Tensor:
    """``samples`` (n, S) as z-scores in float32, in place where they are float32; NaN for constant columns."""
    with needed():
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
    with needed():
        import torch

    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64, device=a.device)
    rows = None if order is None else torch.from_numpy(order).to(b.device)
    for start in range(0, len(a), 1024):
        part = slice(start, start + 1024)
        total += a[part].T @ (b[part] if rows is None else b[rows[part]])
    return (total / len(a)).clamp(-1, 1)
