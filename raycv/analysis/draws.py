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
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.activity import mixtures_left_out
from raycv.analysis.arrays import Floats, neighbours
from raycv.analysis.nulls import WIDE
from raycv.analysis.prerelu import Mixable, standardise
from raycv.analysis.rotations import Rotations
from raycv.analysis.significance import Draws
from raycv.extras import needed

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 2**23  # products of units at once
DRAWS, DRAWS_WHEN_WIDE = 25, 5  # from 20 on, one unit above all draws of all units is a discovery


def draws_for(units: int) -> int:
    """How many draws a layer of so many units gets."""
    return DRAWS if units <= WIDE else DRAWS_WHEN_WIDE


def scores(samples: Tensor, left_out: NDArray[np.bool_]) -> Tensor:
    """The z-scores (n, S) of ``samples`` (n, S) float32; NaN for units (S,) that are left out, or constant here."""
    with needed():
        import torch

    z = standardise(samples.clone())
    z[:, torch.from_numpy(left_out).to(z.device)] = torch.nan
    return z


def best(a: Tensor, b: Tensor) -> tuple[Floats, Floats]:
    """The largest absolute correlation of each unit of a (S_a,) and of b (S_b,); z-scores (n, S_a) and (n, S_b)."""
    of_a, (of_b,) = _best_of_each(a, [a.shape[1]], b)
    return of_a, of_b


def _best_of_each(others: Tensor, widths: Sequence[int], b: Tensor) -> tuple[Floats, list[Floats]]:
    """``best`` of several networks' stacked units (n, ΣS_a): of all of them (ΣS_a,), and of b's with each network."""
    with needed():
        import torch

    of_a: list[Tensor] = []
    of_b: list[Tensor] = []
    parts = iter(torch.split_with_sizes(others, list(widths), 1))
    for places in neighbours([width * b.shape[1] for width in widths], AT_ONCE):
        some = [widths[n] for n in places]
        sizes = (torch.cat([next(parts) for _ in some], 1).T @ b if len(some) < len(widths) else others.T @ b).abs_()
        sizes.nan_to_num_(-1)
        of_a.append(sizes.amax(1))
        of_b += [part.amax(0) for part in torch.split_with_sizes(sizes, some)]
    return _correlations(torch.cat(of_a), len(b)), [_correlations(one, len(b)) for one in of_b]


def _correlations(products: Tensor, samples: int) -> Floats:
    """From the largest products of z-scores, -1 for those that take no part."""
    values = products.double().cpu().numpy() / samples
    return np.where(values < 0, np.nan, values).clip(max=1)


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
    (found,) = shuffled_all([a], b, strata, count=count, seed=seed)
    return found


def shuffled_all(
    others: Sequence[Tensor], b: Tensor, strata: NDArray[np.int64], *, count: int, seed: int | Sequence[int]
) -> list[tuple[Draws, Draws]]:
    """``shuffled`` of each of ``others`` with b, whose images are shuffled once for all."""
    with needed():
        import torch

    widths, stacked = [a.shape[1] for a in others], _stacked(others)
    values, values_of_b = _best_of_each(stacked, widths, b)
    images = b.view(len(strata), -1, b.shape[1])
    null: list[Floats] = []
    null_of_b: list[list[Floats]] = []
    for order in orders(strata, count, seed):
        of_a, of_b = _best_of_each(stacked, widths, images[torch.from_numpy(order).to(b.device)].view_as(b))
        null.append(of_a)
        null_of_b.append(of_b)
    ends = np.cumsum(widths)[:-1]
    of_others = zip(np.split(values, ends), np.split(np.stack(null), ends, axis=1), strict=True)
    back = zip(values_of_b, zip(*null_of_b, strict=True), strict=True)
    return [(Draws(*of_a), Draws(of_b, np.stack(drawn))) for of_a, (of_b, drawn) in zip(of_others, back, strict=True)]


def mixed_before(
    others: Sequence[Tensor], layer: Mixable, left_out: int, *, count: int, seed: int | Rotations
) -> list[Floats]:
    """The null (K, S_a) of each of ``others``' units with b's units mixed before the non-linearity, once for all.

    ``others``: z-scores (n, S_a); ``layer``: of b in the same samples.
    ``left_out``: how many units of b take no part; as many of the least active mixtures take none. ``seed``: or
    rotations shared with others.
    """
    widths, stacked = [a.shape[1] for a in others], _stacked(others)
    found: list[Floats] = []
    layer = replace(layer, before=layer.before.T.contiguous().T)  # whose columns every draw counts and sums up
    for own in _own_seeds(seed, layer.before.shape[1], count):
        mixed, active = layer.mixed(own)
        out = mixtures_left_out(active.cpu().numpy(), left_out)
        found.append(_best_of_each(stacked, widths, scores(mixed, out))[0])
    return np.split(np.stack(found), np.cumsum(widths)[:-1], axis=1)


def _own_seeds(seed: int | Rotations, units: int, count: int) -> Iterator[tuple[int, int] | Floats]:
    """Of each draw."""
    if isinstance(seed, Rotations):
        yield from seed.each(units, count)
    else:
        yield from ((seed, draw) for draw in range(count))


def _stacked(others: Sequence[Tensor]) -> Tensor:
    """(n, ΣS_a): one product with all of them takes less time than one with each."""
    with needed():
        import torch

    return others[0] if len(others) == 1 else torch.cat(list(others), 1)
