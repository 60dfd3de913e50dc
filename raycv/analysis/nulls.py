"""How much more a unit agrees with one unit of another network than with a random mixture of its units.

A unit of network a may agree with a unit of network b only because both networks span much the same subspace: then any
mixture of b's units would do as well. The *rotated* null says how well: the units of b are multiplied by a random
orthonormal matrix Q, and with c_i the covariances of unit i, as z-scores, with the units of b and Σ_b those among them,

    null_i = max over j of |c_iᵀ q_j| / sqrt(q_jᵀ Σ_b q_j)

is the largest correlation of unit i with one of the mixtures (Gurnee et al., 2024, "Universal neurons in GPT2 language
models"; here both sides are absolute values). Only moments are needed. Mixtures of rectified units are not
rectified, so the null is a little low: two networks before training have an excess over it too, which belongs beside
every excess.

Activations and their z-scores are mixed by the same Q, and the null is the larger of both in the mean over units
and rotations, in layers of 128 units or more over the first two of these. Where
a non-linearity commutes with rotations, mixed activations are those of such a network again: then their null is exact,
and that of z-scores too low, as the layer's strongest directions count for less in them. Where units have scales of
their own, as behind a normalisation, it is the other way round: a few units would make up all mixtures.

NaN marks dead units, as everywhere: their rows are NaN in every result, and they are no part of any mixture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycv.analysis.arrays import Floats
from raycv.analysis.averages import mean
from raycv.analysis.matching import bipartite_matching
from raycv.analysis.regression import linear_r2
from raycv.analysis.rotations import Rotations
from raycv.extras import needed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WIDE = 1024  # units; wider layers get fewer rotations, which vary less there
ROTATIONS, ROTATIONS_WHEN_WIDE = 20, 5
MATCHINGS, MATCHINGS_WHEN_WIDE = 5, 2
DECIDING, DECIDING_FROM = 2, 128  # rotations that decide what is mixed, of so many units or more; of fewer all do
AT_ONCE = 2**20  # correlations with mixtures, and weights of these, at once
ALIKE = 1e-9  # of the largest deviation: units of equal variance but for rounding


@dataclass(frozen=True)
class Rotated:
    """What units of a correlate with randomly rotated units of b: the null of `excess`.

    Attributes
    ----------
    values : ndarray of shape (K, S_a)
        The largest absolute correlation of each unit of a with a rotated unit of b, by rotation; NaN for dead units.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Rotated
    >>> null = Rotated(np.array([[0.2, 0.4, np.nan], [0.4, 0.6, np.nan]]))
    >>> null.unit_mean.round(3).tolist(), round(null.mean, 3), round(null.error, 3)
    ([0.3, 0.5, nan], 0.4, 0.1)
    """

    values: Floats

    @property
    def unit_mean(self) -> Floats:
        """(S_a,): the mean over rotations."""
        of_unit: Floats = self.values.mean(0)
        return of_unit

    @property
    def mean(self) -> float:
        """The mean over live units and rotations; NaN where all are dead."""
        return mean(self.values)

    @property
    def error(self) -> float:
        """The standard error of ``mean`` that the number of rotations leaves."""
        return float(np.std([mean(row) for row in self.values], ddof=1) / math.sqrt(len(self.values)))

    def of(self, units: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Rotated:
        """Take some units of a alone: of one network, where ``rotated`` was given the rows of several.

        Parameters
        ----------
        units : slice, or ndarray of bool or int
            Which.

        Returns
        -------
        Rotated
            With the same rotations.
        """
        return Rotated(self.values[:, units])


def rotated(
    cross: ArrayLike,
    within: ArrayLike,
    *,
    rotations: int | None = None,
    seed: int | np.random.Generator | Rotations = 0,
    device: torch.device | str | None = None,
) -> Rotated:
    """Compute the rotated null: what each unit of a correlates with the best of random mixtures of b's units.

    Every rotation is orthonormal and uniform over all (Haar). With c_i the covariances of unit i, as z-scores, with the
    units of b, Σ_b those among them and q_j the columns of a rotation, the null is the mean over rotations of

        max over j of |c_iᵀ q_j| / sqrt(q_jᵀ Σ_b q_j)

    (rotated neurons as a baseline: Gurnee et al., 2024, "Universal neurons in GPT2 language models"; here both sides
    are absolute values). Activations and z-scores are mixed, and what gives the larger mean counts. Mixtures of
    rectified units are not rectified, so the null is a little low after a ReLU; `rotated_before_relu` mixes before it.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        Correlations of a's units with b's, NaN in the rows and columns of dead units. The units of several networks may
        be stacked as rows: a rotation costs as much as some seven products of S_b x S_b matrices and two for the rows.
    within : array_like of shape (S_b, S_b)
        Covariances of b's units (`scaled`), or their correlations; then z-scores alone are mixed. Dead units, NaN, are
        part of no mixture.
    rotations : int, optional
        How many, at least 2. None: 20, but 5 for more than 1,024 live units of b.
    seed : int, Generator or Rotations, default 0
        Fixes the result, the same everywhere to rounding; ``Rotations`` are shared by all who have them.
    device : torch.device or str, optional
        Where PyTorch computes, such as "cpu"; None: NumPy does, without PyTorch.

    Returns
    -------
    Rotated
        NaN for dead units of a.

    Raises
    ------
    ValueError
        For matrices that do not fit or are not finite between live units, and for fewer than two rotations.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, excess, rotated
    >>> rng = np.random.default_rng(0)
    >>> b = rng.standard_normal((500, 30))
    >>> a = b + rng.standard_normal((500, 30))                   # every unit of a has one of b for a partner
    >>> null = rotated(correlation(a, b), correlation(b, b))
    >>> null.values.shape, bool(0.2 < null.mean < 0.4), bool(excess(correlation(a, b), null).mean > 0.3)
    ((20, 30), True, True)
    """
    rows, among, live, columns = _live(cross, within)
    count = rotations_for(len(columns)) if rotations is None else rotations
    if count < 2:
        raise ValueError(f"the null needs at least 2 rotations to have an error, found {rotations}")
    values = np.full((count, len(live)), np.nan)
    if rows.size:
        of_b = Mixtures(among, _each(seed, len(among), count), device)
        values[:, live] = of_b.largest([rows])[0]
    return Rotated(values)


def rotated_all(
    crosses: Sequence[Floats], within: ArrayLike, drawn: Rotations, device: torch.device | str | None = None
) -> list[Rotated]:
    """``rotated`` of each of ``crosses`` (S_a, S_b), of several networks, from one set of rotations of b's units.

    Each is as it would be alone.
    """
    parts = [_live(cross, within) for cross in crosses]
    counts = rotations_for(len(parts[0][3])) if parts else 0
    found = [np.full((counts, len(live)), np.nan) for _, _, live, _ in parts]
    some = [n for n, (rows, *_) in enumerate(parts) if rows.size]
    if some:
        of_b = Mixtures(parts[0][1], drawn.each(len(parts[0][1]), counts), device)
        for n, values in zip(some, of_b.largest([parts[n][0] for n in some]), strict=True):
            found[n][:, parts[n][2]] = values
    return [Rotated(values) for values in found]


def rotated_matching(cross: ArrayLike, within: ArrayLike, *, seed: int | np.random.Generator | Rotations = 0) -> Floats:
    """Compute the null of a one-to-one matching, as `rotated` is that of a semi-matching.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        As in `rotated`.
    within : array_like of shape (S_b, S_b)
        As in `rotated`.
    seed : int, Generator or Rotations, default 0
        As in `rotated`.

    Returns
    -------
    ndarray of shape (K,)
        The mean absolute correlation of units matched one to one (`bipartite_matching`) with the units of each
        rotation. An assignment takes longer than a rotation, so K is 5, and 2 for more than 1,024 live units of b. NaN
        where all units are dead.

    Raises
    ------
    ValueError
        For matrices that do not fit or are not finite between live units.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, rotated_matching
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((2, 500, 30))                 # nothing in common
    >>> chance = rotated_matching(correlation(a, b), correlation(b, b))
    >>> len(chance), bool(0.05 < chance.mean() < 0.1)
    (5, True)
    """
    rows, among, _, columns = _live(cross, within)
    count = MATCHINGS if len(columns) <= WIDE else MATCHINGS_WHEN_WIDE
    if not rows.size:
        return np.full(count, np.nan)
    scales, sigma = _standardised(among)
    drawn: list[float] = []
    larger: int | None = None
    for q in _each(seed, len(among), count):
        weights = [_unit_variance(q, sigma, scale) for scale in (scales if larger is None else [scales[larger]])]
        mixtures = [np.minimum(np.abs(rows @ of), 1) for of in weights]
        if larger is None:  # which it is shows in one draw; an assignment takes longer than all else
            larger = int(np.argmax([float(of.max(1).mean()) for of in mixtures]))
            mixtures = mixtures[larger:]
        drawn.append(mean(bipartite_matching(mixtures[0]).values))
    return np.array(drawn)


def scaled(correlation: Floats, deviations: Floats) -> Floats:
    """Compute covariances of units from their correlations.

    Parameters
    ----------
    correlation : ndarray of shape (S, S)
        NaN in the rows and columns of dead units.
    deviations : ndarray of shape (S,)
        Standard deviations, in units of the activation.

    Returns
    -------
    ndarray of shape (S, S)
        NaN where the correlations are.

    Raises
    ------
    ValueError
        For another number of deviations.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import scaled
    >>> scaled(np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([1.0, 4.0])).tolist()
    [[1.0, 2.0], [2.0, 16.0]]
    """
    if correlation.shape != (len(deviations), len(deviations)):
        raise ValueError(f"{len(deviations)} deviations do not fit correlations of shape {correlation.shape}")
    covariances: Floats = correlation * deviations[:, None]
    covariances *= deviations
    return covariances


def rotations_for(units: int) -> int:
    """How many rotations a layer of so many units gets."""
    return ROTATIONS if units <= WIDE else ROTATIONS_WHEN_WIDE


def _standardised(within: Floats) -> tuple[Floats, Floats]:
    """By what z-scores are multiplied to be mixed (1 or 2, S_b), and their correlations (S_b, S_b), in place.

    By 1, and where the variances of ``within`` differ by their square roots.
    """
    deviations = np.sqrt(np.diagonal(within))
    alike = np.ptp(deviations) <= ALIKE * deviations.max()
    scales = [np.ones(len(within)), *([] if alike else [deviations / deviations.max()])]
    within /= deviations[:, None]
    within /= deviations
    return np.array(scales), within


class Mixtures:
    """The units of one network as random rotations mix them, for all networks that are compared with it.

    ``within`` (S_b, S_b): covariances or correlations of live units, which are overwritten; ``qs``: the rotations. What
    is mixed, z-scores or activations, is what gives the larger null; of 128 units or more in the first two of them.
    """

    def __init__(self, within: Floats, qs: Iterable[Floats], device: torch.device | str | None = None) -> None:
        self._scales, self._within = _standardised(within)
        self._qs, self._device = iter(qs), device

    def largest(self, rows: Sequence[Floats]) -> list[Floats]:
        """For each of ``rows`` (S_a, S_b), live, the largest absolute correlation with a mixture: (K, S_a)."""
        units = len(self._within)
        deciding = DECIDING if units >= DECIDING_FROM else None
        at_once = max(1, AT_ONCE // (units * max(units, *map(len, rows))))
        found: list[list[list[Floats]]] = [[[] for _ in self._scales] for _ in rows]
        wanted = [list(range(len(self._scales)))] * len(rows)
        arrays, done = _Arrays(self._device), 0
        within, given = arrays.of(self._within), [arrays.of(one) for one in rows]
        while some := list(
            islice(self._qs, min(at_once, deciding - done) if deciding and done < deciding else at_once)
        ):
            for way in sorted({way for ways in wanted for way in ways}):
                weights = _unit_variance(arrays.of(np.stack(some)), within, arrays.of(self._scales[way]))
                for one, of, ways in zip(given, found, wanted, strict=True):
                    if way in ways:
                        of[way] += arrays.largest(one, weights)
            done += len(some)
            if done == deciding:
                wanted = [[int(np.argmax([np.mean(of_way) for of_way in of]))] for of in found]
        longest = [max(of, key=lambda of_way: (len(of_way), np.mean(of_way))) for of in found]
        return [np.array(of_way) for of_way in longest]


class _Arrays:
    """NumPy's where ``device`` is None, so that nobody needs PyTorch, and else PyTorch's."""

    def __init__(self, device: torch.device | str | None) -> None:
        self._device = device

    def of(self, values: Floats) -> Any:
        if self._device is None:
            return values
        with needed():
            import torch

        return torch.from_numpy(values).to(self._device)

    def largest(self, rows: Any, weights: Any) -> list[Floats]:
        """k times (S_a,): of each row the largest absolute correlation with mixtures (k, S_b, S_b); 1 at most."""
        count, units, _ = weights.shape
        if self._device is None:
            mixed = rows @ weights.transpose(1, 0, 2).reshape(units, -1)
            return list(np.minimum(np.abs(mixed, out=mixed).reshape(-1, count, units).max(2), 1).T)
        mixed = rows @ weights.permute(1, 0, 2).reshape(units, -1)
        return list(mixed.abs_().reshape(-1, count, units).amax(2).clamp_max_(1).T.cpu().numpy())


def _unit_variance(qs: Any, within: Any, scale: Any) -> Any:
    """The weights (..., S_b, S_b) of z-scores in mixtures of variance 1: ``qs`` of those times the ``scale`` (S_b,)."""
    weights = scale[:, None] * qs
    variance = ((within @ weights) * weights).sum(-2)
    return weights * (variance.clip(1e-300) ** -0.5)[..., None, :]


def _each(seed: int | np.random.Generator | Rotations, units: int, count: int) -> Iterator[Floats]:
    """``count`` random rotations of ``units``."""
    if isinstance(seed, Rotations):
        yield from seed.each(units, count)
        return
    generator = np.random.default_rng(seed)
    for _ in range(count):
        q, r = np.linalg.qr(generator.standard_normal((units, units)))
        yield q * np.sign(np.diagonal(r))


def orthonormal(normal: Tensor) -> Tensor:
    """An orthonormal matrix (S, S), uniform over all (Haar) if the entries of ``normal`` are independent normals.

    The Q of the QR decomposition whose R has a positive diagonal (Mezzadri, 2007).
    """
    with needed():
        import torch

    q, r = torch.linalg.qr(normal)
    haar: Tensor = q * r.diagonal().sign()
    return haar


@dataclass(frozen=True)
class Excess:
    """What the units of a have beyond the null, from `excess`.

    Attributes
    ----------
    best : ndarray of shape (S_a,)
        The largest absolute correlation with a unit of b; NaN for dead units.
    units : ndarray of shape (S_a,)
        Its excess over the unit's own null; NaN for dead units.
    mean : float
        Over live units.
    error : float
        The standard error of ``mean`` that the number of rotations leaves; neither images nor networks are in it.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Rotated, excess
    >>> found = excess([[0.9, -0.1], [0.2, -0.7]], Rotated(np.array([[0.3, 0.2], [0.3, 0.4]])))
    >>> found.best.tolist(), found.units.round(3).tolist(), round(found.mean, 3), round(found.error, 3)
    ([0.9, 0.7], [0.6, 0.4], 0.5, 0.05)
    """

    best: Floats
    units: Floats
    mean: float
    error: float


def excess(cross: ArrayLike, null: Rotated) -> Excess:
    """Subtract the null from the best absolute correlation of every unit of a.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        Correlations of a's units with b's, NaN in the rows and columns of dead units.
    null : Rotated
        Of the same units, as `rotated` gives it.

    Returns
    -------
    Excess
        About 0 where mixtures of b's units do as well as its units.

    Raises
    ------
    ValueError
        For a null of another number of units.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, excess, rotated
    >>> x = np.random.default_rng(0).standard_normal((2000, 30))
    >>> mixed = x @ np.linalg.qr(np.random.default_rng(1).standard_normal((30, 30)))[0]
    >>> cross = correlation(x, mixed)                            # the same subspace, and no unit in common
    >>> abs(round(excess(cross, rotated(cross, correlation(mixed, mixed))).mean, 1))
    0.0
    """
    best = best_correlation(cross)
    _check_null(best, null)
    units = best - null.unit_mean
    return Excess(best, units, mean(units), null.error)


def best_correlation(cross: ArrayLike) -> Floats:
    """Take each row's largest absolute correlation.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        Correlations, NaN in the rows and columns of dead units.

    Returns
    -------
    ndarray of shape (S_a,)
        NaN for dead units, and for all where there is no live unit of b.

    Raises
    ------
    ValueError
        Where ``cross`` is not a matrix.

    Examples
    --------
    >>> from raycv.analysis import best_correlation
    >>> best_correlation([[0.2, -0.6], [float("nan")] * 2]).tolist()
    [0.6, nan]
    """
    sizes = np.abs(np.asarray(cross, dtype=np.float64))
    if sizes.ndim != 2:
        raise ValueError(f"correlations have two axes (S_a, S_b), found shape {sizes.shape}")
    best: Floats = np.where(np.isnan(sizes), -1, sizes).max(1, initial=-1)
    return np.where(best < 0, np.nan, best)


@dataclass(frozen=True)
class OneUnitShare:
    """What predicts which fraction of each unit's variance, from `one_unit_share`.

    Attributes
    ----------
    best : ndarray of shape (S_a,)
        Its partner, the unit of b of largest absolute correlation.
    rotated : ndarray of shape (S_a,)
        The best of the rotated units, mean over rotations.
    linear : ndarray of shape (S_a,)
        All units of b together, R² of least squares.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import OneUnitShare
    >>> found = OneUnitShare(np.array([0.6, 0.3]), np.array([0.2, 0.3]), np.array([1.0, 0.3]))
    >>> found.units.round(3).tolist(), round(found.mean, 3)
    ([0.5, nan], 0.5)
    """

    best: Floats
    rotated: Floats
    linear: Floats

    @property
    def units(self) -> Floats:
        """(S_a,): (best − rotated) / (linear − rotated); NaN where all units predict no more than a rotated one."""
        room = self.linear - self.rotated
        share: Floats = (self.best - self.rotated) / np.where(room > 0, room, np.nan)
        return share

    @property
    def mean(self) -> float:
        """The same of the means over live units: 0 after a rotation, 1 for a renumbered copy."""
        best, rotated, linear = (mean(part) for part in (self.best, self.rotated, self.linear))
        return (best - rotated) / (linear - rotated) if linear > rotated else math.nan


def one_unit_share(cross: ArrayLike, correlation: ArrayLike, null: Rotated) -> OneUnitShare:
    """Compute the share of what all of b's units predict linearly that one unit of b holds.

    Parameters
    ----------
    cross : array_like of shape (S_a, S_b)
        Correlations of a's units with b's, NaN in the rows and columns of dead units.
    correlation : array_like of shape (S_b, S_b)
        Those among b's units.
    null : Rotated
        Of the same ``cross``, as `rotated` gives it.

    Returns
    -------
    OneUnitShare
        Its ``mean`` is 1 for a renumbered copy and 0 after a rotation.

    Raises
    ------
    ValueError
        For matrices, or a null, of other shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, one_unit_share, rotated
    >>> x = np.random.default_rng(0).standard_normal((500, 30))
    >>> cross, within = correlation(x, x[:, ::-1]), correlation(x[:, ::-1], x[:, ::-1])
    >>> round(one_unit_share(cross, within, rotated(cross, within)).mean, 6)
    1.0
    """
    best = best_correlation(cross)
    _check_null(best, null)
    return OneUnitShare(best**2, (null.values**2).mean(0), linear_r2(correlation, np.asarray(cross).T))


def _check_null(units: Floats, null: Rotated) -> None:
    if null.values.shape[1:] != units.shape:
        raise ValueError(f"the null is of {null.values.shape[-1]} units and there are {len(units)}")


def effective_dimension(covariance: ArrayLike) -> float:
    """Compute the participation ratio (Σ λ)² / Σ λ² of the eigenvalues λ of a covariance matrix.

    (Gao et al., 2017.)

    Parameters
    ----------
    covariance : array_like of shape (S, S)
        Covariances or correlations. Dead units, whose rows are NaN, are left out.

    Returns
    -------
    float
        S for independent units of equal variance, 1 where all follow one signal; NaN where all units are dead.

    Raises
    ------
    ValueError
        For a matrix that is not square.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import effective_dimension
    >>> effective_dimension(np.eye(5)), effective_dimension(np.ones((5, 5)))
    (5.0, 1.0)
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or len(set(matrix.shape)) > 1:
        raise ValueError(f"a covariance matrix is square (S, S), found shape {matrix.shape}")
    live = ~np.isnan(np.diagonal(matrix))
    kept = matrix[np.ix_(live, live)]
    squares = float((kept**2).sum())
    return float(np.trace(kept) ** 2 / squares) if squares > 0 else math.nan


def _live(cross: ArrayLike, within: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.intp]]:
    """The live rows and columns of both matrices, which rows (S_a,) are live, and the numbers of the live columns."""
    rows, among = np.asarray(cross, dtype=np.float64), np.asarray(within, dtype=np.float64)
    if rows.ndim != 2 or among.shape != (rows.shape[1], rows.shape[1]):
        raise ValueError(f"cross must be (S_a, S_b) and within (S_b, S_b), found {rows.shape} and {among.shape}")
    columns = np.flatnonzero(~np.isnan(np.diagonal(among)))
    live = np.isnan(rows[:, columns]).sum(1) < len(columns)
    rows, among = rows[np.ix_(live, columns)], among[np.ix_(columns, columns)]
    if not (np.isfinite(rows).all() and np.isfinite(among).all()):
        raise ValueError(
            "correlations and covariances of live units must be finite; only whole rows of dead units may be NaN"
        )
    return rows, among, live, columns
