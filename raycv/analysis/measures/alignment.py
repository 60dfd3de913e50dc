"""Linear centred kernel alignment: how alike two networks find pairs of images, from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from raycv.analysis.measures.covariances import Covariances, measure


@measure
def linear_cka(c: Covariances) -> float:
    """Compute linear centred kernel alignment (Kornblith et al., 2019, section 3).

    ‖C‖² / (‖Σ_a‖ ‖Σ_b‖) in Frobenius norms.

    Biased upwards where the samples are not many more than the units: for independent networks of 64 units 0.49 in 64
    samples. `debiased_cka` is not.

    Parameters
    ----------
    c : Covariances
        Of live units.

    Returns
    -------
    float
        From 0 to 1, the same after any rotation and scaling of a network; NaN where one has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, linear_cka
    >>> round(linear_cka(Covariances(np.eye(2), np.diag([1.0, 0.0]), np.eye(2))), 6)
    0.5
    """
    return float((c.cross**2).sum() / (np.linalg.norm(c.a) * np.linalg.norm(c.b)))


@dataclass(frozen=True)
class NormProducts:
    """Σ |x|⁴, Σ |x|²|y|² and Σ |y|⁴ over samples, of centred activations x of a network and y of another."""

    a: float
    cross: float
    b: float


@measure
def debiased_cka(c: Covariances, samples: int, norms: NormProducts) -> float:
    """Compute linear CKA without bias, for independent samples (Song et al., 2007).

    The estimates of ‖C‖², ‖Σ_a‖² and ‖Σ_b‖² are unbiased.

    n (n - 3) times an estimate is tr K̃L̃ + 1ᵀK̃1 1ᵀL̃1 / ((n - 1)(n - 2)) - 2 1ᵀK̃L̃1 / (n - 2), with the matrices K̃
    and L̃ of inner products of samples, without their diagonals. Of centred samples that is

        n² ‖C‖² - n / (n - 2) Σ |x|²|y|² + n² tr Σ_a tr Σ_b / ((n - 1)(n - 2)),

    so that beside covariances only the ``norms`` are needed. That is exact whatever the distribution of the samples.
    The positions of an image are not independent: `cross_fold_cka` asks that of folds alone.

    Parameters
    ----------
    c : Covariances
        Of live units.
    samples : int
        n, 4 or more.
    norms : NormProducts
        Σ |x|⁴, Σ |x|²|y|² and Σ |y|⁴ over samples, of centred activations of the units that ``c`` has, or of constant
        ones more (`raycv.analysis.measures.alignment.NormProducts`).

    Returns
    -------
    float
        About 0 for independent networks, and may be below; NaN where an estimate of ‖Σ‖² is not positive, or no unit is
        live.

    Raises
    ------
    ValueError
        For fewer than four samples.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, debiased_cka, linear_cka
    >>> from raycv.analysis.measures.alignment import NormProducts
    >>> x, y = (one - one.mean(0) for one in np.random.default_rng(0).standard_normal((2, 64, 64)))
    >>> c, (p, q) = Covariances(x.T @ x / 64, x.T @ y / 64, y.T @ y / 64), ((x**2).sum(1), (y**2).sum(1))
    >>> round(linear_cka(c), 1), abs(debiased_cka(c, 64, NormProducts(p @ p, p @ q, q @ q))) < 0.1
    (0.5, True)
    """
    if samples < 4:
        raise ValueError(f"an unbiased estimate needs at least 4 samples, found {samples}")
    n = float(samples)
    trace_a, trace_b = np.trace(c.a), np.trace(c.b)

    def unbiased(matrix: np.ndarray, traces: float, products: float) -> float:
        squares = n**2 * float((matrix**2).sum())
        return squares - n / (n - 2) * products + n**2 * traces / ((n - 1) * (n - 2))

    return _ratio(
        unbiased(c.cross, trace_a * trace_b, norms.cross),
        unbiased(c.a, trace_a**2, norms.a),
        unbiased(c.b, trace_b**2, norms.b),
    )


def cross_fold_cka(folds: Iterable[Covariances]) -> float:
    """Compute linear CKA without bias from the covariances within each of F independent folds of the samples.

    ‖C‖² is estimated by the mean of ⟨C_f, C_g⟩ over pairs of different folds: since they are independent, its mean is
    that of one C times itself, whatever the distribution, and however the samples within a fold depend on each other
    (cross-validated distances of Walther et al., 2016, are of this kind).

    Parameters
    ----------
    folds : iterable of Covariances
        Two or more, of the same units and of the same number of samples; they are taken one after the other.

    Returns
    -------
    float
        About 0 for independent networks, and may be below; NaN where an estimate of ‖Σ‖² is not positive, or no unit is
        live.

    Raises
    ------
    ValueError
        For fewer than two folds, and for folds of different units.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, cross_fold_cka
    >>> fold = Covariances(np.eye(2), np.eye(2), np.eye(2))
    >>> round(cross_fold_cka([fold, fold]), 6)
    1.0
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
