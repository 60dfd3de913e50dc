"""What mapping layers owe to units: the loss that mixtures of the source units reach with as few of them.

A mapping layer of decay 0 predicts as well from any mixture of the source units that spans the same subspace. A sparse
one does not: few units say more than few mixtures if each target unit is like a few of them. At the same decay mixtures
are used more often than units, so the two are compared where they use equally many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats
from raycv.analysis.mapping import MappingLayer, lasso_path
from raycv.analysis.nulls import orthonormal

if TYPE_CHECKING:
    import torch

# The decays of the mixtures' path beside 0, relative to the one that leaves nothing; close where few are used.
PATH = (1e-4, 5e-4, 2e-3, *np.geomspace(1e-2, 1, 12).tolist())


def rotated_sources(source: ArrayLike, cross: ArrayLike, *, seed: int | np.random.Generator) -> tuple[Floats, Floats]:
    """Correlations (S_a, S_a) and (S_a, S_b) of a random orthonormal mixture of the source's z-scores.

    ``source`` (S_a, S_a) and ``cross`` (S_a, S_b) are correlations, NaN in the rows and columns of dead units, which
    are no part of a mixture and keep their NaN. `raycv.analysis.nulls` says what such mixtures are.
    """
    import torch

    within, between = (np.array(matrix, dtype=np.float64) for matrix in (source, cross))
    live = np.flatnonzero(~np.isnan(np.diagonal(within)))
    normal = np.random.default_rng(seed).standard_normal((len(live), len(live)))
    q = orthonormal(torch.from_numpy(normal)).numpy()
    of_mixtures = q.T @ within[np.ix_(live, live)] @ q
    deviation = np.sqrt(np.diagonal(of_mixtures))
    within[np.ix_(live, live)] = of_mixtures / np.outer(deviation, deviation)
    between[live] = q.T @ between[live] / deviation[:, None]
    return within, between


def loss_with_as_many(
    source: ArrayLike, cross: ArrayLike, layers: Sequence[MappingLayer], *, device: torch.device | str = "cpu"
) -> Floats:
    """(D,): for each of ``layers`` the loss of the mapping layer of other sources that uses as many of them.

    ``source`` (S_a, S_a) and ``cross`` (S_a, S_b) are those of `raycv.analysis.mapping.lasso_path`. Its path is
    followed at 16 decays and the loss interpolated linearly in the mean number of sources used: within .005 of what
    `find_decay` finds, on average .001. At decay 0 nothing is made sparse, and the loss is
    that of decay 0. NaN where there is no live target unit.
    """
    decays = np.array([layer.decay for layer in layers])
    highest = np.nanmax(np.abs(np.asarray(cross)), initial=0.0) / np.shape(cross)[1]  # nothing is used from here on
    path = lasso_path(source, cross, highest * np.array([0.0, *PATH]), device=device)
    used, loss = (np.array(values) for values in zip(*((at.units_used(), at.loss) for at in path), strict=True))
    rising = np.argsort(used, kind="stable")
    between = np.interp([layer.units_used() for layer in layers], used[rising], loss[rising])
    losses: Floats = np.where(decays == 0, loss[0], between)
    return losses
