"""What chance gives in the place of each unit's best partner, draw by draw, on samples of whole images.

A unit may correlate with some unit of another network because both networks span much the same subspace, or because
its activations are so uneven, or its samples so few, that the largest of many correlations is large by accident.
Mixtures of units say the first, images paired at random say the second: a mixture of many units is nearly normal, so
that its sampling noise is smaller than that of one unit that seldom fires. Draws of both are compared with the largest
correlation in the same samples. The positions of an image stay together, as they depend on each other.

Only the largest correlations are kept, so memory does not grow with draws but by one number for each unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.activity import mixtures_left_out
from raycv.analysis.arrays import Floats
from raycv.analysis.nulls import WIDE
from raycv.analysis.prerelu import rotated_before_relu, standardise
from raycv.analysis.rotations import Rotations
from raycv.analysis.significance import Draws

if TYPE_CHECKING:
    from torch import Tensor

DRAWS, DRAWS_WHEN_WIDE = 25, 5  # from 20 on, one unit above all draws of all units is a discovery


def draws_for(units: int) -> int:
    """How many draws a layer of so many units gets."""
    return DRAWS if units <= WIDE else DRAWS_WHEN_WIDE


def scores(samples: Tensor, left_out: NDArray[np.bool_]) -> Tensor:
    """The z-scores (n, S) of ``samples`` (n, S) float32; NaN for units (S,) that are left out, or constant here."""
    import torch

    z = standardise(samples.clone())
    z[:, torch.from_numpy(left_out).to(z.device)] = torch.nan
    return z


def best(a: Tensor, b: Tensor) -> tuple[Floats, Floats]:
    """The largest absolute correlation of each unit of a (S_a,) and of b (S_b,); z-scores (n, S_a) and (n, S_b)."""
    sizes = (a.T @ b).abs_().nan_to_num_(-1)
    of_a, of_b = (sizes.amax(axis).double().cpu().numpy() / len(a) for axis in (1, 0))
    return np.where(of_a < 0, np.nan, of_a).clip(max=1), np.where(of_b < 0, np.nan, of_b).clip(max=1)


def orders(strata: NDArray[np.int64], count: int, seed: int | Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """``count`` random orders of images, each image in the place of one of its own stratum, ``strata`` (images,)."""
    generator = np.random.default_rng(seed)
    places = np.argsort(strata, kind="stable")
    for _ in range(count):
        drawn = np.lexsort((generator.random(len(strata)), strata))
        order = np.empty(len(strata), np.int64)
        order[places] = drawn
        yield order


def shuffled(
    a: Tensor, b: Tensor, strata: NDArray[np.int64], *, count: int, seed: int | Sequence[int]
) -> tuple[Draws, Draws]:
    """The draws of a's units and of b's with whole images of b in the place of others of the same stratum.

    ``a`` (n, S_a), ``b`` (n, S_b): z-scores of the same samples, n = images x positions, image by image.
    """
    (found,) = shuffled_all([a], b, strata, counts=[count], seed=seed)
    return found


def shuffled_all(
    others: Sequence[Tensor], b: Tensor, strata: NDArray[np.int64], *, counts: Sequence[int], seed: int | Sequence[int]
) -> list[tuple[Draws, Draws]]:
    """``shuffled`` of each of ``others`` with b, whose images are shuffled once for all; ``counts``: of draws."""
    import torch

    null: list[list[tuple[Floats, Floats]]] = [[] for _ in others]
    images = b.view(len(strata), -1, b.shape[1])
    for draw, order in enumerate(orders(strata, max(counts, default=0), seed)):
        other_b = images[torch.from_numpy(order).to(b.device)].view_as(b)
        for drawn, a, count in zip(null, others, counts, strict=True):
            if draw < count:
                drawn.append(best(a, other_b))
    found = []
    for drawn, a in zip(null, others, strict=True):
        values, (of_a, of_b) = best(a, b), (np.stack(side) for side in zip(*drawn, strict=True))
        found.append((Draws(values[0], of_a), Draws(values[1], of_b)))
    return found


def mixed_before_relu(
    others: Sequence[Tensor], before: Tensor, left_out: int, *, count: int | Sequence[int], seed: int | Rotations
) -> list[Floats]:
    """The null (K, S_a) of each of ``others``' units with b's units mixed before the ReLU, one mixture for all.

    ``others``: z-scores (n, S_a); ``before`` (n, S_b) float32: b's activations before its ReLU in the same samples.
    ``left_out``: how many units of b take no part; as many of the least active mixtures take none. ``count``: draws,
    for all or for each of the others. ``seed``: or rotations shared with others.
    """
    counts = [count] * len(others) if isinstance(count, int) else count
    found: list[list[Floats]] = [[] for _ in others]
    columns = before.T.contiguous().T  # which every draw counts and sums up
    draws = max(counts, default=0)
    seeds = (
        seed.each(before.shape[1], draws) if isinstance(seed, Rotations) else ((seed, draw) for draw in range(draws))
    )
    for draw, own in enumerate(seeds):
        mixed = rotated_before_relu(columns, seed=own)
        active = (mixed > 0).sum(0).cpu().numpy()
        b = scores(mixed, mixtures_left_out(active, left_out))
        for of_other, a, of_count in zip(found, others, counts, strict=True):
            if draw < of_count:
                of_other.append(best(a, b)[0])
    return [np.stack(of_other) for of_other in found]
