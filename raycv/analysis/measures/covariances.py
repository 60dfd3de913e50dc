"""What every measure is given: the covariances of the units of two networks over the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Concatenate, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycv.analysis.arrays import Floats
from raycv.analysis.regression import whitening

Rest = ParamSpec("Rest")


@dataclass(frozen=True)
class Covariances:
    """The covariances of the units of two networks over the same samples, which every measure takes.

    All are divided by the number of samples n: Σ_a = XᵀX / n, Σ_b = YᵀY / n, C = XᵀY / n for centred activations X (n,
    S_a) and Y (n, S_b). What several measures need of them, and what takes long, is computed once. ``Covariances.of``
    leaves dead units out; the constructor takes matrices as they are.

    Attributes
    ----------
    a : ndarray of shape (S_a, S_a)
        Σ_a, within the first network.
    cross : ndarray of shape (S_a, S_b)
        C, between the networks.
    b : ndarray of shape (S_b, S_b)
        Σ_b, within the second network.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import Covariances, linear_cka
    >>> x = np.random.default_rng(0).standard_normal((500, 6))
    >>> y = 3 * x[:, ::-1]
    >>> both = np.cov(np.hstack([x, y]), rowvar=False, bias=True)
    >>> c = Covariances.of(both[:6, :6], both[:6, 6:], both[6:, 6:])
    >>> round(linear_cka(c), 6), np.allclose(np.diag(c.correlations().a), 1), round(float(np.trace(c.normalised.b)), 6)
    (1.0, True, 1.0)
    """

    a: Floats
    cross: Floats
    b: Floats

    @classmethod
    def of(cls, a: ArrayLike, cross: ArrayLike, b: ArrayLike) -> Covariances:
        """Take the live units of matrices that have NaN for dead ones.

        Parameters
        ----------
        a : array_like of shape (S_a, S_a)
            Within the first network.
        cross : array_like of shape (S_a, S_b)
            Between the networks.
        b : array_like of shape (S_b, S_b)
            Within the second network.

        Returns
        -------
        Covariances
            Without units whose variance is NaN or 0.

        Raises
        ------
        ValueError
            For matrices that do not fit or are not finite between live units.
        """
        within_a, between, within_b = (np.asarray(matrix, dtype=np.float64) for matrix in (a, cross, b))
        s_a, s_b = len(within_a), len(within_b)
        if within_a.shape != (s_a, s_a) or between.shape != (s_a, s_b) or within_b.shape != (s_b, s_b):
            raise ValueError(
                "covariances have shapes (S_a, S_a), (S_a, S_b) and (S_b, S_b), "
                f"found {within_a.shape}, {between.shape} and {within_b.shape}"
            )
        rows, columns = (np.flatnonzero(np.diagonal(within) > 0) for within in (within_a, within_b))
        live = cls(within_a, between, within_b).among(rows, columns)
        if not all(np.isfinite(matrix).all() for matrix in (live.a, live.cross, live.b)):
            raise ValueError("covariances between live units must be finite")
        return live

    def among(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Covariances:
        """Take some units of a, and some of b.

        Parameters
        ----------
        rows : ndarray, int
            Numbers of units of a.
        columns : ndarray, int
            Numbers of units of b.

        Returns
        -------
        Covariances
            Of these, in this order.
        """
        return Covariances(
            self.a[np.ix_(rows, rows)], self.cross[np.ix_(rows, columns)], self.b[np.ix_(columns, columns)]
        )

    def correlations(self) -> Covariances:
        """Divide by standard deviations: every unit counts alike, however large its activations.

        Returns
        -------
        Covariances
            Of the z-scores.
        """
        spread_a, spread_b = np.sqrt(np.diagonal(self.a)), np.sqrt(np.diagonal(self.b))
        return Covariances(
            self.a / np.outer(spread_a, spread_a),
            self.cross / np.outer(spread_a, spread_b),
            self.b / np.outer(spread_b, spread_b),
        )

    def reversed(self) -> Covariances:
        """Put the networks in the other order.

        Returns
        -------
        Covariances
            Of b and a.
        """
        turned = Covariances(self.b, self.cross.T, self.a)
        if "canonical" in vars(self):  # known already: it need not be computed again
            left, values, right = self.canonical
            vars(turned).update(whitened=self.whitened[::-1], canonical=(right.T, values, left.T))
        return turned

    @cached_property
    def normalised(self) -> Covariances:
        """Of activations divided by one number in each network, so that their variances add up to 1."""
        of_a, of_b = np.trace(self.a), np.trace(self.b)
        return Covariances(self.a / of_a, self.cross / np.sqrt(of_a * of_b), self.b / of_b)

    @cached_property
    def whitened(self) -> tuple[Floats, Floats]:
        """W_a (S_a, d_a) and W_b (S_b, d_b), see `raycv.analysis.regression.whitening`."""
        return whitening(self.a), whitening(self.b)

    @cached_property
    def canonical(self) -> tuple[Floats, Floats, Floats]:
        """U (d_a, d), the d singular values, falling, and Vᵀ (d, d_b) of W_aᵀ C W_b; d is the smaller rank."""
        w_a, w_b = self.whitened
        left, values, right = np.linalg.svd(w_a.T @ self.cross @ w_b, full_matrices=False)
        return left, np.clip(values, 0, 1), right

    @cached_property
    def nuclear(self) -> float:
        """The sum of the singular values of C."""
        return float(np.linalg.svd(self.cross, compute_uv=False).sum())


def measure(
    function: Callable[Concatenate[Covariances, Rest], float],
) -> Callable[Concatenate[Covariances, Rest], float]:
    """NaN where one of the networks has no live unit."""

    @wraps(function)
    def guarded(c: Covariances, /, *args: Rest.args, **kwargs: Rest.kwargs) -> float:
        return float(function(c, *args, **kwargs)) if c.cross.size else math.nan

    return guarded
