"""The exact LASSO path of many targets from two matrices: coordinate descent, then Newton on the active set.

For each target c the problem is to minimise over w, one weight for each of S_a source units,

    ½ wᵀ G w − w·b_c + α ‖w‖₁,        G = E[z zᵀ] (S_a, S_a),  b_c = E[z z_c] (S_a,),

which is ½ E[(z_c − w·z)²] + α ‖w‖₁ minus a constant. With the gradient g = b_c − G w, w is optimal where
g_j = α sign(w_j) for the weights that are not zero and |g_j| <= α for the others (KKT conditions).

A target is solved for falling α; each solution is the starting point of the next. A *round* first makes a few
sweeps of coordinate descent (Friedman et al., 2010) to find roughly which weights are not zero. It then solves
for those weights exactly: on the active set A with signs s the optimum is G_AA⁻¹ (b_A − α s). The weights move
there in a straight line; a weight that reaches zero on the way leaves A. The objective falls in every round and
there are finitely many active sets, so the rounds end. The Cholesky factor of G_AA is kept along the path and
updated as units join and leave. This makes small α cheap, where coordinate descent alone is very slow.

Targets share only G, so each thread solves blocks of targets.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.threads import threads
from raycv.extras import needed

with needed():
    from scipy.linalg import eigh, lapack

Progress = Callable[[int, int], None]  # called with the numbers of targets done and in all

TARGETS_AT_ONCE = 16
# Units above which a GPU, where there is one, solves for all targets at once. One core would need a day for a pair of
# 4,096 units to be trained as the paper did: 4,500 iterations, seven decays.
UNITS_FOR_GPU = 1024
WELL_CONDITIONED = 1e-12  # least reciprocal condition number of a matrix that is used unchanged


@dataclass(frozen=True)
class Problem:
    """``gram`` G (S_a, S_a), positive semi-definite; ``right`` (S_b, S_a), whose rows b_c are in the range of G.

    ``times_inverse`` (n, S_a) -> (n, S_a) is the product with G⁻¹, the pseudo-inverse where G is singular.
    """

    gram: Floats
    right: Floats
    times_inverse: Callable[[Floats], Floats]

    def least_squares(self) -> Floats:
        """(S_b, S_a): the solutions for α = 0, of minimum norm."""
        return self.times_inverse(self.right)

    def gradient(self, weights: Floats) -> Floats:
        """(S_b, S_a): b_c − G w_c for the rows w_c of ``weights`` (S_b, S_a)."""
        gradient: Floats = self.right - weights @ self.gram
        return gradient

    def squared_errors(self, weights: Floats, gradient: Floats) -> Floats:
        """(S_b,): E[(z_c − w_c·z)²], if z_c has variance 1."""
        return 1.0 - _products(weights, self.right) - _products(weights, gradient)

    def duality_gaps(self, weights: Floats, gradient: Floats, alpha: float) -> Floats:
        """(S_b,): an upper bound on how far the objective of each row of ``weights`` (S_b, S_a) is above its minimum.

        Any v with |v_j| <= α gives the lower bound −½ (b_c − v)ᵀ G⁺ (b_c − v) of the objective (its dual; Kim et
        al., 2007). With v = s·g, g the gradient and s = min(1, α / ‖g‖∞), the gap is
        α ‖w‖₁ − s·g·w + ½ (1 − s)² gᵀ G⁺ g: exact for α = 0, and 0 only at the optimum.
        """
        largest = np.abs(gradient).max(1, initial=0.0)
        scale = np.divide(alpha, largest, out=np.ones(len(largest)), where=largest > alpha)
        gaps: Floats = alpha * np.abs(weights).sum(1) - scale * _products(weights, gradient)
        apart = scale < 1 - 1e-8  # elsewhere the last term is below rounding
        if apart.any():
            far = gradient[apart]
            gaps[apart] += (1 - scale[apart]) ** 2 * _products(far, self.times_inverse(far)) / 2
        np.maximum(gaps, 0.0, out=gaps)  # below 0 only by rounding
        return gaps


def _products(a: Floats, b: Floats) -> Floats:
    """(n,): the scalar products of the rows of two (n, S) matrices."""
    products: Floats = np.einsum("cj,cj->c", a, b)
    return products


def make_problem(gram: Floats, right: Floats) -> Problem:
    """The problem of ``gram`` (S_a, S_a) and ``right`` (S_b, S_a), made convex if it is not.

    Matrices of rounded or quantised numbers may be singular or have negative eigenvalues, and then the LASSO has
    no solution. In that case eigenvalues up to S_a·ε times the largest, and up to the size of the most negative
    one, count as noise and are set to 0, and the rows of ``right`` are projected on the range of the result. A
    matrix that is clearly positive definite is used unchanged.
    """
    if not len(gram):
        return Problem(gram, right, np.copy)
    factor, info = lapack.dpotrf(gram, lower=1)
    if info == 0 and lapack.dpocon(factor, np.abs(gram).sum(0).max(), uplo="L")[0] > WELL_CONDITIONED:
        return Problem(gram, right, lambda rows: lapack.dpotrs(factor, rows.T, lower=1)[0].T)
    values, vectors = eigh(gram)
    kept = values > max(len(gram) * np.finfo(np.float64).eps * values[-1], -values[0])
    values, vectors = values[kept], vectors[:, kept]
    return Problem(
        (vectors * values) @ vectors.T,
        (right @ vectors) @ vectors.T,
        lambda rows: (rows @ vectors / values) @ vectors.T,
    )


def solve_path(problem: Problem, alphas: Floats, tolerance: float, progress: Progress | None = None) -> Floats:
    """Weights (D, S_b, S_a) for the D falling, positive ``alphas``.

    No KKT condition is violated by more than ``tolerance``·min(α, 1), so the duality gap is at most about
    ``tolerance``, unless rounding prevents this. Blocks of targets are shared among `threads`
    (`raycv.analysis.threads`), whose number does not change the result. Memory besides the result: up to S_a²
    numbers per thread.
    """
    from raycv.analysis.lasso_kernels import solve_block  # numba takes half a second

    targets, units = problem.right.shape
    weights = np.zeros((len(alphas), targets, units))
    gram, right = np.ascontiguousarray(problem.gram), np.ascontiguousarray(problem.right)

    def solve(first: int) -> int:
        block = slice(first, first + TARGETS_AT_ONCE)
        solve_block(gram, right[block], alphas, tolerance, weights[:, block])
        return len(right[block])

    done = 0
    with ThreadPoolExecutor(threads()) as pool:
        for future in as_completed([pool.submit(solve, first) for first in range(0, targets, TARGETS_AT_ONCE)]):
            done += future.result()
            if progress is not None:
                progress(done, targets)
    return weights
