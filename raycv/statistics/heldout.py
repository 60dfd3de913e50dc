"""Mapping layers fitted on some images and scored on others, from moments alone.

The squared error of a mapping layer on any images follows from their means and covariances. Because the moments are
kept fold by fold, a layer can be fitted without a fold and scored on it, and the images are not read again.

Predicting nothing of a unit means to predict its mean in the images of the fit. Held-out errors are divided by the
error of that on the held-out images, not by the variance there, which is around a mean that no fit knows. So the loss
of predicting nothing is exactly 0.5. R² becomes Q²_F1 of Consonni, Ballabio & Todeschini (2009).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from raycv.analysis.arrays import Floats
from raycv.analysis.averages import mean
from raycv.analysis.mapping import MappingLayer, checked_decays, lasso_path
from raycv.analysis.similarity import Interval
from raycv.statistics.moments import JointMoments, covariance, variance
from raycv.statistics.moments import mean as moments_mean


@dataclass(frozen=True)
class PairMoments:
    """Means and covariances of the activations of a source and a target net over some images.

    Means: ``source_mean`` (S_a,) and ``target_mean`` (S_b,). Covariances: ``source`` (S_a, S_a) and ``cross``
    (S_a, S_b). Variances: ``target_variance`` (S_b,). All are divided by the number of samples.
    """

    source_mean: Floats
    target_mean: Floats
    source: Floats
    cross: Floats
    target_variance: Floats

    def correlations(self) -> tuple[Floats, Floats]:
        """Source (S_a, S_a) and cross (S_a, S_b) correlation; NaN for units that do not vary."""
        source_std, target_std = self.deviations()
        return self.source / np.outer(source_std, source_std), self.cross / np.outer(source_std, target_std)

    def errors(self, weights: Floats, scored: PairMoments) -> Floats:
        """(S_b,): mean squared errors of ``weights`` (S_b, S_a), fitted on these images, on the images of ``scored``.

        Both sides are standardised with the means and standard deviations of these images. With x the source z-scores
        and y those of target c, the error is E[(y − w_c·x)²] = E[y²] − 2 w_c·E[x y] + w_cᵀ E[x xᵀ] w_c over the
        scored images, times the variance of c in these images. NaN for target units that do not vary in these images.
        """
        source_std, target_std = self.deviations()
        used = ~np.isnan(source_std)
        source_std, weights = source_std[used], weights[:, used]
        source_shift = (scored.source_mean - self.source_mean)[used] / source_std
        target_shift = (scored.target_mean - self.target_mean) / target_std
        source = scored.source[np.ix_(used, used)] / np.outer(source_std, source_std)
        cross = scored.cross[used] / np.outer(source_std, target_std)
        bias = target_shift - weights @ source_shift
        variance = scored.target_variance / target_std**2
        quadratic = np.einsum("cj,cj->c", weights, weights @ source - 2 * cross.T)
        errors: Floats = (variance + quadratic + bias**2) * target_std**2
        return errors

    def deviations(self) -> tuple[Floats, Floats]:
        """Standard deviations of the source (S_a,) and target units (S_b,); NaN for units that do not vary."""
        variances = np.diagonal(self.source), self.target_variance
        source, target = (np.sqrt(np.where(variance > 0, variance, np.nan)) for variance in variances)
        return source, target

    def spread(self, scored: PairMoments) -> Floats:
        """(S_b,): mean squared deviations of the target units in the images of ``scored`` from their means in these."""
        spread: Floats = scored.target_variance + (scored.target_mean - self.target_mean) ** 2
        return spread


def pair_moments(moments: JointMoments, left_out: np.ndarray) -> PairMoments:
    """Of two networks' joint moments; to the units left out (U,) a variance of 0 is given."""
    sources, targets = np.split(~left_out, [moments.widths[0]])
    means = np.split(moments_mean(moments), [moments.widths[0]])
    return PairMoments(
        means[0],
        means[1],
        covariance(moments, 0, 0) * np.outer(sources, sources),
        covariance(moments, 0, 1) * np.outer(sources, targets),
        np.where(targets, variance(moments)[moments.widths[0] :], 0.0),
    )


@dataclass(frozen=True)
class HeldOut:
    """Mapping layers of one decay, each fitted without one fold of the images and scored on that fold.

    ``fold_error`` and ``fold_spread`` (F, S_b), in squared units of the activation: the mean squared error of each
    target unit in each fold, and that of predicting nothing, the mean squared deviation from the unit's mean in the
    images of the fit. An error is NaN if the unit does not vary in the images of the fit.
    """

    decay: float
    fold_error: Floats
    fold_spread: Floats

    @property
    def fold_loss(self) -> Floats:
        """(F, S_b): half the squared errors, in units of the target's mean spread in the folds; NaN if that is 0.

        The variance in the images of the fit is not used: a unit that seldom fires may vary much less there.
        """
        spread = self.fold_spread.mean(0)
        loss: Floats = self.fold_error / np.where(spread > 0, spread, np.nan) / 2
        return loss

    @property
    def target_loss(self) -> Floats:
        """(S_b,): the mean held-out loss of each target unit over folds; NaN where a unit varies in no fold."""
        loss: Floats = self.fold_loss.mean(0)
        return loss

    @property
    def target_r2(self) -> Floats:
        """(S_b,): 1 − squared error / spread, both summed over folds; NaN where a unit varies in no fold."""
        return 1 - 2 * self.target_loss

    @property
    def loss(self) -> float:
        """The mean held-out loss over folds and live target units."""
        return mean(self.fold_loss)

    @property
    def r2(self) -> float:
        """The mean of ``target_r2`` over live target units."""
        return mean(self.target_r2)

    @property
    def loss_interval(self) -> Interval:
        """The 95% interval (Student's t) of ``loss`` from the spread of the folds' losses; NaN below two folds."""
        losses = np.array([mean(fold) for fold in self.fold_loss])
        if len(losses) < 2:
            return Interval(math.nan, math.nan)
        half = float(stdtrit(len(losses) - 1, 0.975) * losses.std(ddof=1) / math.sqrt(len(losses)))
        return Interval(self.loss - half, self.loss + half)

    def unpredicted(self, r2: float = 0.1) -> NDArray[np.bool_]:
        """(S_b,): true for live target units with less than ``r2`` of their held-out variance predicted."""
        return self.target_r2 < r2


def cross_validate(
    fits: Sequence[PairMoments],
    folds: Sequence[PairMoments],
    decays: ArrayLike,
    solver: Callable[[Floats, Floats, ArrayLike], list[MappingLayer]] = lasso_path,
) -> list[HeldOut]:
    """Fit on each of ``fits``, the moments of all images except one fold, and score on that fold.

    Returns one result per decay. The activations are not needed. Raises ValueError if there are not as many fits as
    folds, and as ``solver`` does.
    """
    if len(fits) != len(folds) or not fits:
        raise ValueError(
            f"every fold needs the moments of the other images: found {len(folds)} folds, {len(fits)} fits"
        )
    wanted = checked_decays(decays)
    spread = np.array([fit.spread(fold) for fit, fold in zip(fits, folds, strict=True)])
    errors = np.empty((len(wanted), *spread.shape))
    for f, (fit, fold) in enumerate(zip(fits, folds, strict=True)):
        for d, layer in enumerate(solver(*fit.correlations(), wanted)):
            errors[d, f] = fit.errors(layer.weights, fold)
    return [HeldOut(decay, of_decay, spread) for decay, of_decay in zip(wanted.tolist(), errors, strict=True)]
