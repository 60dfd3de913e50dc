"""The machine code of `raycv.analysis.lasso`: blocks of targets that share one Gram matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.arrays import Floats, Ints
from raycv.extras import needed

with needed():
    from numba import njit

SWEEPS = 3  # at most, of coordinate descent over the active set in a round
ROUNDS = 1000  # at most, for one α; one or two are usual
PANEL = 8  # units that join the factor together
# A unit joins the active units only if they leave at least this part of its variance unexplained.
INDEPENDENT = 1e-12
# Sums may be reordered, so that they are added up in vectors; NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, fastmath=FAST)
def solve_block(gram: Floats, right: Floats, alphas: Floats, tolerance: float, weights: Floats) -> None:
    """Fill ``weights`` (D, T, S) for the rows b_c of ``right`` (T, S)."""
    size = len(gram)
    everything = np.arange(size)
    # The factor has k units; R with Rᵀ R = G of these units is the upper triangle of its first k rows. The
    # diagonal holds reciprocals, because divisions are slow.
    units, factor = np.empty(size, np.int64), np.empty((size, size + PANEL))
    joined = np.zeros(size, np.bool_)
    columns, spare = np.empty((PANEL, size)), np.empty(size)
    for c in range(len(right)):
        gradient, w = right[c].copy(), np.zeros(size)
        joined[:] = False
        k = 0
        for d in range(len(alphas)):
            alpha = alphas[d]
            for _ in range(ROUNDS):
                if _violation(gradient, w, alpha) <= allowed(tolerance, alpha):
                    break
                _sweep(gram, gradient, w, alpha, everything)
                active = np.flatnonzero(w)
                for _ in range(SWEEPS):
                    if not _sweep(gram, gradient, w, alpha, active):
                        break
                k = _leave(factor, units, k, w, joined, spare)
                k = _join(gram, factor, units, k, w, gradient, alpha, active, joined, columns, spare)
                k = _newton(factor, units, k, w, gradient, alpha, joined, columns, spare)
                gradient[:] = right[c]
                for q in range(k):
                    _subtract(gradient, w[units[q]], gram, units[q], 0, size)
            weights[d, c] = w


@njit(cache=True, nogil=True)
def allowed(tolerance: float, alpha: float) -> float:
    """The largest violation of a KKT condition that a solution may have."""
    return max(tolerance * min(alpha, 1.0), 1e-14)


@njit(cache=True, nogil=True, fastmath=FAST)
def _violation(gradient: Floats, w: Floats, alpha: float) -> float:
    """The largest violation of a KKT condition."""
    worst = 0.0
    for j in range(len(w)):
        wrong = abs(gradient[j]) - alpha if w[j] == 0.0 else abs(gradient[j] - np.sign(w[j]) * alpha)
        worst = max(worst, wrong)
    return worst


@njit(cache=True, nogil=True, fastmath=FAST)
def _sweep(gram: Floats, gradient: Floats, w: Floats, alpha: float, over: Ints) -> bool:
    """Minimise over one weight after the other; return whether a weight changed its sign."""
    changed = False
    for j in over:
        old, diagonal = w[j], gram[j, j]
        alone = gradient[j] + diagonal * old
        new = 0.0
        if alone > alpha:
            new = (alone - alpha) / diagonal
        elif alone < -alpha:
            new = (alone + alpha) / diagonal
        if new != old:
            w[j] = new
            _subtract(gradient, new - old, gram, j, 0, len(w))
            changed |= (new > 0.0) != (old > 0.0) or (new < 0.0) != (old < 0.0)
    return changed


@njit(cache=True, nogil=True, fastmath=FAST)
def _leave(factor: Floats, units: Ints, k: int, w: Floats, joined: NDArray[np.bool_], spare: Floats) -> int:
    """Drop the units of weight zero from the factor; return how many units remain."""
    for q in range(k - 1, -1, -1):
        if w[units[q]] == 0.0:
            joined[units[q]] = False
            k = _drop(factor, units, k, q, spare)
    return k


@njit(cache=True, nogil=True, fastmath=FAST)
def _join(
    gram: Floats,
    factor: Floats,
    units: Ints,
    k: int,
    w: Floats,
    gradient: Floats,
    alpha: float,
    active: Ints,
    joined: NDArray[np.bool_],
    columns: Floats,
    spare: Floats,
) -> int:
    """Add the ``active`` units whose weight is not zero to the factor; return how many units it then has.

    If a unit depends linearly on units in the factor, the weights can move in a direction that does not change the
    prediction. They are moved along it, the way in which the objective does not rise, until one of them is zero.
    """
    new, i = active[(w[active] != 0.0) & ~joined[active]], 0
    while i < len(new):
        panel = new[i : i + PANEL]
        accepted = _append(gram, factor, units, k, panel, columns)
        joined[panel[:accepted]] = True
        k += accepted
        i += accepted
        if accepted < len(panel):
            j = new[i]
            hit = _slide(factor, units, k, j, w, gradient, alpha, columns[accepted])
            if hit < k:
                joined[units[hit]] = False
                k = _drop(factor, units, k, hit, spare)
            else:
                i += 1
            # Up to rounding, the move does not change the gradient.
    return k


@njit(cache=True, nogil=True, fastmath=FAST)
def _slide(
    factor: Floats, units: Ints, k: int, j: int, w: Floats, gradient: Floats, alpha: float, column: Floats
) -> int:
    """Move until a weight is zero and return its place in the factor, k for unit ``j``.

    Overwrites ``column``, which holds R⁻ᵀ G_Aj.
    """
    _backward(factor, k, column)
    slope = alpha * np.sign(w[j]) - gradient[j]  # of the objective, along the direction (−G_AA⁻¹ G_Aj, 1)
    for q in range(k):
        slope -= column[q] * (alpha * np.sign(w[units[q]]) - gradient[units[q]])
    direction = -1.0 if slope > 0 else 1.0
    hit = -1
    while hit < 0:
        length, hit = np.inf, -1
        if w[j] * direction < 0:
            length, hit = abs(w[j]), k
        for q in range(k):
            if w[units[q]] * column[q] * direction > 0 and abs(w[units[q]]) < length * abs(column[q]):
                length, hit = abs(w[units[q]] / column[q]), q
        if hit < 0:
            direction = -direction
    w[j] += direction * length
    for q in range(k):
        w[units[q]] -= direction * length * column[q]
    w[j if hit == k else units[hit]] = 0.0
    return hit


@njit(cache=True, nogil=True, fastmath=FAST)
def _newton(
    factor: Floats,
    units: Ints,
    k: int,
    w: Floats,
    gradient: Floats,
    alpha: float,
    joined: NDArray[np.bool_],
    columns: Floats,
    spare: Floats,
) -> int:
    """Solve for the weights of the factor's units, drop those that reach zero, and return how many units remain.

    Afterwards only those units have correct entries in ``gradient``.
    """
    step = columns[0]
    while True:
        for q in range(k):
            step[q] = gradient[units[q]] - alpha * np.sign(w[units[q]])
        _forward(factor, k, columns[:1])
        _backward(factor, k, step)
        length, hit = 1.0, -1
        for q in range(k):
            old = w[units[q]]
            if abs(old) <= length * abs(step[q]) and old * step[q] < 0.0:
                length, hit = abs(old / step[q]), q
        for q in range(k):
            j = units[q]
            gradient[j] -= length * (gradient[j] - alpha * np.sign(w[j]))
            w[j] += length * step[q]
        if hit < 0:
            return k
        w[units[hit]] = 0.0
        joined[units[hit]] = False
        k = _drop(factor, units, k, hit, spare)


@njit(cache=True, nogil=True, fastmath=FAST)
def _append(gram: Floats, factor: Floats, units: Ints, k: int, new: Ints, columns: Floats) -> int:
    """Append ``new`` units to a factor of k units, up to the first dependent one; return how many were appended.

    Leaves in ``columns`` (PANEL, S), for each new unit, R⁻ᵀ G with the old units and, from entry k on, with the new
    units before it.
    """
    for m in range(len(new)):
        for q in range(k):
            columns[m, q] = gram[new[m], units[q]]
    _forward(factor, k, columns[: len(new)])
    for q in range(k):
        for m in range(len(new)):
            factor[q, k + m] = columns[m, q]
    for m in range(len(new)):
        for p in range(m):
            rest = gram[new[p], new[m]] - _dot(columns[m], columns, p, 0, k + p)
            columns[m, k + p] = factor[k + p, k + m] = rest * factor[k + p, k + p]
        unexplained = gram[new[m], new[m]] - _dot(columns[m], columns, m, 0, k + m)
        if unexplained <= INDEPENDENT * gram[new[m], new[m]]:
            return m
        factor[k + m, k + m] = 1.0 / np.sqrt(unexplained)
        units[k + m] = new[m]
    return len(new)


@njit(cache=True, nogil=True, fastmath=FAST)
def _drop(factor: Floats, units: Ints, k: int, place: int, spare: Floats) -> int:
    """Take the unit at ``place`` out of a factor of k units; return k − 1.

    Without its row, the rows below lack the outer product of that row; plane rotations add it to them.
    """
    for i in range(place, k - 1):
        spare[i] = factor[place, i + 1]
        units[i] = units[i + 1]
    for q in range(place):
        _shift(factor, q, q, place, k - 1)
    for q in range(place, k - 1):
        _shift(factor, q, q + 1, q, k - 1)
        tangent = spare[q] * factor[q, q]
        cosine = 1.0 / np.sqrt(1.0 + tangent**2)
        factor[q, q] *= cosine
        _rotate(factor, q, spare, cosine, tangent * cosine, q + 1, k - 1)
    return k - 1


@njit(cache=True, nogil=True, fastmath=FAST)
def _forward(factor: Floats, k: int, columns: Floats) -> None:
    """Replace each row x of ``columns`` by R⁻ᵀ x. Takes two rows of R at a time, so half as many sums are stored."""
    for q in range(0, k - 1, 2):
        for m in range(len(columns)):
            x = columns[m, q] * factor[q, q]
            y = (columns[m, q + 1] - x * factor[q, q + 1]) * factor[q + 1, q + 1]
            columns[m, q], columns[m, q + 1] = x, y
            _subtract_two(columns, m, x, y, factor, q, q + 2, k)
    if k % 2:
        for m in range(len(columns)):
            columns[m, k - 1] *= factor[k - 1, k - 1]


@njit(cache=True, nogil=True, fastmath=FAST)
def _backward(factor: Floats, k: int, x: Floats) -> None:
    """Replace x by R⁻¹ x. Takes two rows of R at a time, because their sums need not wait for each other."""
    for q in range(k - 1, 0, -2):
        below, above = _dot(x, factor, q, q + 1, k), _dot(x, factor, q - 1, q + 1, k)
        x[q] = (x[q] - below) * factor[q, q]
        x[q - 1] = (x[q - 1] - above - x[q] * factor[q - 1, q]) * factor[q - 1, q - 1]
    if k % 2:
        x[0] = (x[0] - _dot(x, factor, 0, 1, k)) * factor[0, 0]


# The innermost loops. Unsigned indices need no check for negative values, and without array slices there are no
# references to count. Both would cost more than the arithmetic.


@njit(cache=True, nogil=True, fastmath=FAST)
def _subtract(x: Floats, a: float, matrix: Floats, row: int, first: int, end: int) -> None:
    r = np.uint64(row)
    for i in range(np.uint64(first), np.uint64(end)):
        x[i] -= a * matrix[r, i]


@njit(cache=True, nogil=True, fastmath=FAST)
def _subtract_two(
    columns: Floats, column: int, a: float, b: float, matrix: Floats, row: int, first: int, end: int
) -> None:
    m, q, p = np.uint64(column), np.uint64(row), np.uint64(row + 1)
    for i in range(np.uint64(first), np.uint64(end)):
        columns[m, i] -= a * matrix[q, i] + b * matrix[p, i]


@njit(cache=True, nogil=True, fastmath=FAST)
def _dot(x: Floats, matrix: Floats, row: int, first: int, end: int) -> float:
    r, total = np.uint64(row), 0.0
    for i in range(np.uint64(first), np.uint64(end)):
        total += x[i] * matrix[r, i]
    return total


@njit(cache=True, nogil=True, fastmath=FAST)
def _shift(matrix: Floats, to: int, source: int, first: int, end: int) -> None:
    t, f, one = np.uint64(to), np.uint64(source), np.uint64(1)
    for i in range(np.uint64(first), np.uint64(end)):
        matrix[t, i] = matrix[f, i + one]


@njit(cache=True, nogil=True, fastmath=FAST)
def _rotate(matrix: Floats, row: int, x: Floats, cosine: float, sine: float, first: int, end: int) -> None:
    r = np.uint64(row)
    for i in range(np.uint64(first), np.uint64(end)):
        u, v = matrix[r, i], x[i]
        matrix[r, i] = cosine * u + sine * v
        x[i] = cosine * v - sine * u
