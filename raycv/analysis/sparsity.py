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
from raycv.extras import needed

if TYPE_CHECKING:
    import torch

# The decays of the mixtures' path beside 0, relative to the one that leaves nothing; close where few are used.
PATH = (1e-4, 5e-4, 2e-3, *np.geomspace(1e-2, 1, 12).tolist())


def rotated_sources(source: ArrayLike, cross: ArrayLike, *, seed: int | np.random.Generator) -> tuple[Floats, Floats]:
    """Mix the source's z-scores by a random rotation.

    Parameters
    ----------
    source : array_like of shape (S_a, S_a)
        Correlations, NaN in the rows and columns of dead units, which are part of no mixture.
    cross : array_like of shape (S_a, S_b)
        Correlations of source units with target units, NaN for dead ones.
    seed : int or Generator
        Of the rotation, uniform over all (Haar).

    Returns
    -------
    within : ndarray of shape (S_a, S_a)
        Correlations of the mixtures, NaN where ``source`` is.
    between : ndarray of shape (S_a, S_b)
        Correlations of mixtures with target units, NaN where ``cross`` is.

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import rotated_sources
    >>> within, between = rotated_sources(np.eye(3), np.eye(3), seed=0)
    >>> np.allclose(within, np.eye(3)), np.allclose(between @ between.T, np.eye(3))
    (True, True)
    """
    with needed():
        import torch

    within, between = (np.array(matrix, dtype=np.float64) for matrix in (source, cross))
    if within.ndim != 2 or between.ndim != 2 or within.shape != (len(between), len(between)):
        raise ValueError(f"source must be (S_a, S_a) and cross (S_a, S_b), found {within.shape} and {between.shape}")
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
    """Compute the loss that other sources reach with as many of them as given mapping layers use.

    At the same decay mixtures are used more often than units, so the two are compared where they use equally many. The
    path of the other sources is followed at 16 decays and the loss interpolated linearly in the mean number of sources
    used: within .005 of what `find_decay` finds, on average .001.

    Parameters
    ----------
    source : array_like of shape (S_a, S_a)
        Correlations of the other sources, as in `lasso_path`.
    cross : array_like of shape (S_a, S_b)
        Theirs with the target units.
    layers : sequence of MappingLayer
        D of them, of the same target units.
    device : torch.device or str, default "cpu"
        As in `lasso_path`.

    Returns
    -------
    ndarray of shape (D,)
        At decay 0, where nothing is made sparse, the loss at decay 0. NaN where there is no live target unit.

    Raises
    ------
    ValueError
        As `lasso_path`.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, lasso_path, loss_with_as_many, rotated_sources
    >>> a = np.random.default_rng(0).standard_normal((500, 20))
    >>> within = correlation(a, a)
    >>> layers = lasso_path(within, within, [0.01])              # every unit by itself
    >>> mixtures = loss_with_as_many(*rotated_sources(within, within, seed=0), layers)
    >>> bool(layers[0].loss < 0.1 < 0.2 < mixtures[0])
    True
    """
    decays = np.array([layer.decay for layer in layers])
    highest = np.nanmax(np.abs(np.asarray(cross)), initial=0.0) / np.shape(cross)[1]  # nothing is used from here on
    path = lasso_path(source, cross, highest * np.array([0.0, *PATH]), device=device)
    used, loss = (np.array(values) for values in zip(*((at.units_used(), at.loss) for at in path), strict=True))
    rising = np.argsort(used, kind="stable")
    between = np.interp([layer.units_used() for layer in layers], used[rising], loss[rising])
    losses: Floats = np.where(decays == 0, loss[0], between)
    return losses
