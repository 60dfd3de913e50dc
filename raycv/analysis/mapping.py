"""Mapping layers predict every unit of a target net from a few units of a source net (paper, section 4).

The paper trains a 1x1 convolution W (S_b, S_a) with an L1 penalty of strength ``decay``. Its activations are scaled
so that each channel has mean 0 and standard deviation 1/√N, N = H·W·S_b (footnote 9). The loss per image is

    ½ Σ over positions and channels of (prediction − target)²  +  decay · Σ|W|.

With z-scores z = √N · activation the same W still predicts, because both sides are scaled alike. An image has H·W
positions, so the expectation of the first term over images is

    ½ · H·W · Σ_c E[(w_c·z − z_c)²] / N  =  1/(2 S_b) · Σ_c E[(w_c·z − z_c)²].

Each target unit c is a separate problem. Multiplied by S_b it is the ordinary LASSO,

    minimise  ½ E[(z_c − w_c·z)²] + α ‖w_c‖₁,     α = decay · S_b,

with E[(z_c − w_c·z)²] = 1 − 2 w_c·b_c + w_cᵀ G w_c. Here G is the correlation matrix of the source net and b_c holds
the correlations of target unit c with the source units. No other property of the activations is needed.

The **loss** of a target unit is ½ E[(z_c − w_c·z)²]. The loss of a layer is the mean over its target units, as in the
paper. A layer that predicts nothing has loss 0.5. r² = 1 − 2·loss is the predicted fraction of variance.

Dead units are marked by NaN. A dead source unit has weight 0. A dead target unit has weights 0 and loss and r² NaN,
and averages leave it out; S_b still counts it, as the paper's N does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycv.analysis import lasso
from raycv.analysis.arrays import Floats
from raycv.analysis.averages import mean
from raycv.analysis.infeasible import Infeasible
from raycv.analysis.lasso import Problem, Progress, make_problem
from raycv.extras import needed

if TYPE_CHECKING:
    import torch

SIGNIFICANT = 1e-3  # a source unit counts as used above this absolute weight; the paper gives no threshold


@dataclass(frozen=True)
class MappingLayer:
    """A mapping layer and how well it predicts the images that it was fitted on.

    Attributes
    ----------
    decay : float
        The paper's L1 penalty.
    alpha : float
        The LASSO's: S_b · decay.
    weights : ndarray of shape (S_b, S_a)
        Of z-scores, one row per target unit; 0 for dead units.
    target_loss : ndarray of shape (S_b,)
        ½ E[(z − prediction)²] of each target unit, 0.5 where nothing is predicted; NaN for dead ones.
    target_gap : ndarray of shape (S_b,)
        Duality gap: an upper bound on how far ½ E[…] + alpha ‖w‖₁ is above its minimum, in units of the target's
        variance; NaN for dead target units.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import lasso_path
    >>> (layer,) = lasso_path(np.eye(2), np.array([[0.8, 0.0], [0.0, 0.6]]), [0.1])
    >>> layer.weights.round(3).tolist(), layer.target_loss.round(3).tolist(), round(layer.loss, 3)
    ([[0.6, 0.0], [0.0, 0.4]], [0.2, 0.34], 0.27)
    >>> layer.units_used(), round(layer.r2, 3)
    (1.0, 0.46)
    """

    decay: float
    alpha: float
    weights: Floats
    target_loss: Floats
    target_gap: Floats

    @property
    def target_r2(self) -> Floats:
        """(S_b,): the predicted fraction of each target unit's variance."""
        return 1 - 2 * self.target_loss

    @property
    def loss(self) -> float:
        """The mean loss over live target units; NaN where there are none."""
        return mean(self.target_loss)

    @property
    def r2(self) -> float:
        """The mean predicted fraction of variance over live target units; NaN where there are none."""
        return mean(self.target_r2)

    @property
    def duality_gap(self) -> float:
        """The largest duality gap of a target unit; 0 where there are none."""
        return float(np.nanmax(self.target_gap, initial=0.0))

    def target_units_used(self, threshold: float = SIGNIFICANT) -> Floats:
        """Count the source units that predict each target unit.

        Parameters
        ----------
        threshold : float, default 0.001
            A source unit counts above this absolute weight; the paper gives none.

        Returns
        -------
        ndarray of shape (S_b,)
            NaN for dead target units.
        """
        return np.where(np.isnan(self.target_loss), np.nan, (np.abs(self.weights) > threshold).sum(1))

    def units_used(self, threshold: float = SIGNIFICANT) -> float:
        """Average ``target_units_used`` over live target units.

        Parameters
        ----------
        threshold : float, default 0.001
            As there.

        Returns
        -------
        float
            NaN where there are none.
        """
        return mean(self.target_units_used(threshold))


def lasso_path(
    source_correlation: ArrayLike,
    cross_correlation: ArrayLike,
    decays: ArrayLike,
    *,
    tolerance: float = 1e-6,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> list[MappingLayer]:
    """Fit the mapping layers that minimise the penalised loss, one per decay (paper, section 4).

    Each row w_c of the weights minimises ½ E[(z_c − w_c·z)²] + α ‖w_c‖₁, α = decay·S_b, as
    ``sklearn.linear_model.Lasso(alpha, fit_intercept=False)`` does on the z-scores. For decay 0 it is the least-squares
    solution of minimum norm.

    Rounding or quantisation can give the source correlation negative eigenvalues. No data have such a matrix, and its
    LASSO is not convex. The eigenvalues up to the size of the most negative one are then set to 0 and the cross
    correlation is projected on the range of the result; weights, losses and gaps are those of the changed problem.
    Losses can be below 0 where the two matrices contradict each other. Second moments of another scale are used
    unchanged, but losses assume that every target has variance 1.

    Parameters
    ----------
    source_correlation : array_like of shape (S_a, S_a)
        NaN in the rows and columns of dead units; a source unit with 0 on the diagonal is dead too.
    cross_correlation : array_like of shape (S_a, S_b)
        Of source units with target units, NaN for dead ones.
    decays : array_like of shape (D,)
        Each 0 or more.
    tolerance : float, default 1e-6
        No KKT condition is violated by more than tolerance · min(α, 1), and no duality gap, in units of the target's
        variance, is much above it. A ConvergenceWarning reports where rounding prevents this.
    device : torch.device or str, default "cpu"
        A GPU solves all target units at once, to the same tolerance.
    progress : callable, optional
        Called with the numbers of target units done and in all, when a block of them is finished.

    Returns
    -------
    list of MappingLayer
        One per decay, in the order given.

    Raises
    ------
    ValueError
        For matrices whose shapes do not fit, that are not symmetric or not finite between live units, for negative
        decays and for a tolerance that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, lasso_path
    >>> a = np.random.default_rng(0).standard_normal((500, 10))
    >>> b = a[:, :2] + a[:, 2:4]                                 # each the sum of two units
    >>> path = lasso_path(correlation(a, a), correlation(a, b), [0.0, 0.01, 1.0])
    >>> [layer.units_used() for layer in path], [round(layer.r2, 2) for layer in path]
    ([2.0, 2.0, 0.0], [1.0, 1.0, 0.0])
    """
    pair = Pair.of(source_correlation, cross_correlation)
    wanted = checked_decays(decays)
    if not tolerance > 0:
        raise ValueError(f"tolerance is {tolerance}; it must be above 0, such as 1e-6")
    falling = np.unique(wanted[wanted > 0])[::-1]
    alphas = falling * pair.targets
    if str(device).partition(":")[0] == "cpu":
        path = lasso.solve_path(pair.problem, alphas, tolerance, progress)
    else:
        from raycv.analysis import proximal

        path = proximal.solve_path(pair.problem, alphas, tolerance, device, progress)
    solved = dict(zip(falling.tolist(), path, strict=True))
    if 0 in wanted:
        solved[0.0] = pair.problem.least_squares()
    layers = {decay: pair.layer(weights, decay) for decay, weights in solved.items()}
    _warn_of_gaps(layers.values(), tolerance)
    return [layers[decay] for decay in wanted.tolist()]


def _warn_of_gaps(layers: Iterable[MappingLayer], tolerance: float) -> None:
    worst = max(layers, key=lambda layer: layer.duality_gap, default=None)
    if worst is not None and worst.duality_gap > 2 * tolerance:
        with needed():
            from sklearn.exceptions import ConvergenceWarning  # which takes two seconds

        warnings.warn(
            f"the mapping layer of decay {worst.decay:g} has a duality gap of {worst.duality_gap:.1e}, above the "
            f"tolerance {tolerance:g}: the source units are almost linearly dependent; use a larger decay",
            ConvergenceWarning,
            stacklevel=3,
        )


def find_decay(
    source_correlation: ArrayLike,
    cross_correlation: ArrayLike,
    *,
    units_used: float | None = None,
    loss: float | None = None,
    threshold: float = SIGNIFICANT,
    tolerance: float = 1e-6,
    device: torch.device | str = "cpu",
) -> MappingLayer:
    """Find the decay whose mapping layer has a given sparsity or loss.

    The decay is found to one part in 10⁶. The loss rises with the decay, so it is met that closely. The number of units
    falls in steps and may rise in between: the result is at a step across ``units_used``, on the side closer to it. The
    paper chose its decay 10^-2.6, with 4.7 units used, by hand.

    Parameters
    ----------
    source_correlation : array_like of shape (S_a, S_a)
        As in `lasso_path`.
    cross_correlation : array_like of shape (S_a, S_b)
        As in `lasso_path`.
    units_used : float, optional
        The mean number of source units per target unit. Either this or ``loss`` is given.
    loss : float, optional
        The mean loss over target units, up to 0.5.
    threshold : float, default 0.001
        A source unit counts as used above this absolute weight.
    tolerance : float, default 1e-6
        As in `lasso_path`.
    device : torch.device or str, default "cpu"
        As in `lasso_path`.

    Returns
    -------
    MappingLayer
        Its ``decay`` is what was sought.

    Raises
    ------
    ValueError
        Unless exactly one of ``units_used`` and ``loss`` is given, and as `lasso_path`.
    Infeasible
        For a value that no decay reaches.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import find_decay
    >>> layer = find_decay(np.eye(2), np.array([[0.8], [0.1]]), loss=0.3)
    >>> round(layer.decay, 3), round(layer.loss, 3)
    (0.49, 0.3)
    """
    if (units_used is None) == (loss is None):
        raise ValueError("give exactly one of units_used and loss")
    pair = Pair.of(source_correlation, cross_correlation)
    what, wanted = ("units_used", units_used) if loss is None else ("loss", loss)
    assert wanted is not None

    def falling(layer: MappingLayer) -> float:
        return layer.units_used(threshold) if loss is None else -layer.loss

    def layers(decays: Floats) -> list[MappingLayer]:
        return lasso_path(source_correlation, cross_correlation, decays, tolerance=tolerance, device=device)

    goal = wanted if loss is None else -wanted
    highest = float(np.abs(pair.problem.right).max(initial=0.0)) / pair.targets  # every weight is 0 from here on
    dense, *bracket, empty = layers(np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 13) * (highest or 1.0)]))
    if not falling(dense) >= goal >= falling(empty):
        ends = sorted((abs(falling(dense)), abs(falling(empty))))
        raise Infeasible(f"no decay reaches {what} = {wanted:g}: the range is {ends[0]:.6g} to {ends[1]:.6g}")
    candidates = [dense, *bracket, empty]
    while True:
        values = [falling(layer) for layer in candidates]
        best = min(zip(values, candidates, strict=True), key=lambda pair: abs(pair[0] - goal))
        crossing = next(i for i in range(len(values) - 1) if values[i] >= goal >= values[i + 1])
        low, high = candidates[crossing].decay, candidates[crossing + 1].decay
        if best[0] == goal or high - low <= 1e-6 * max(high, 1e-6 * highest):
            return best[1]
        inside = np.linspace(low, high, 10) if low == 0 else np.geomspace(low, high, 10)
        candidates = [candidates[crossing], *layers(inside[1:-1]), candidates[crossing + 1]]


@dataclass(frozen=True)
class Pair:
    """The live units of a source net and a target net, ``live_sources`` (S_a,) and ``live_targets`` (S_b,).

    ``problem`` is the LASSO of the live units alone.
    """

    problem: Problem
    live_sources: NDArray[np.bool_]
    live_targets: NDArray[np.bool_]

    @property
    def targets(self) -> int:
        """S_b, dead units included."""
        return len(self.live_targets)

    @classmethod
    def of(cls, source_correlation: ArrayLike, cross_correlation: ArrayLike) -> Pair:
        """Find the live units. Raises ValueError as ``lasso_path`` does."""
        source = np.asarray(source_correlation, dtype=np.float64)
        cross = np.asarray(cross_correlation, dtype=np.float64)
        if source.ndim != 2 or source.shape[0] != source.shape[1] or cross.ndim != 2 or len(cross) != len(source):
            raise ValueError(
                "source_correlation must be (S_a, S_a) and cross_correlation (S_a, S_b), "
                f"found shapes {source.shape} and {cross.shape}"
            )
        diagonal = np.diagonal(source)
        sources = ~np.isnan(diagonal) & (diagonal != 0)
        targets = np.asarray(~np.isnan(cross[sources] if sources.any() else cross).all(0))
        source, cross = source[np.ix_(sources, sources)], cross[np.ix_(sources, targets)]
        for name, matrix in (("source_correlation", source), ("cross_correlation", cross)):
            if not np.isfinite(matrix).all():
                raise ValueError(f"{name} has NaN or infinite entries between live units; only dead units may be NaN")
        if (np.diagonal(source) < 0).any() or np.abs(source - source.T).max(initial=0.0) > 1e-5:
            raise ValueError("source_correlation must be symmetric with ones on the diagonal, up to rounding")
        return cls(make_problem((source + source.T) / 2, np.ascontiguousarray(cross.T)), sources, targets)

    def layer(self, weights: Floats, decay: float) -> MappingLayer:
        """The mapping layer over all units with ``weights`` (live targets, live sources), and its losses and gaps."""
        alpha = decay * self.targets
        everywhere = np.zeros((self.targets, len(self.live_sources)))
        everywhere[np.ix_(self.live_targets, self.live_sources)] = weights
        loss, gap = np.full((2, self.targets), np.nan)
        gradient = self.problem.gradient(weights)
        loss[self.live_targets] = self.problem.squared_errors(weights, gradient) / 2
        gap[self.live_targets] = self.problem.duality_gaps(weights, gradient, alpha)
        return MappingLayer(decay, alpha, everywhere, loss, gap)


def checked_decays(decays: ArrayLike) -> Floats:
    """The decays as an array (D,). Raises ValueError if one is negative or not finite."""
    values = np.atleast_1d(np.asarray(decays, dtype=np.float64))
    if values.ndim != 1 or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"decays must be a list of numbers, each 0 or more, found {decays!r}")
    return values
