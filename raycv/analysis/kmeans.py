"""k-means on few points in many dimensions, using only their scalar products.

The rows of a spectral embedding have as many dimensions as there are clusters, so the n·k·d operations of
Lloyd's distances are almost cubic. But k-means needs only the scalar products of the points. Once the Gram
matrix is known, a seeding step reads one row of it, and an iteration costs n·k operations plus n per point that
moves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raycv.extras import needed

with needed():
    from numba import njit

MAX_ITERATIONS = 300


class KMeans(NamedTuple):
    """The result of every restart of k-means; restart ``best`` has the least inertia."""

    labels: NDArray[np.int64]  # (restarts, points), each row using every label in 0 .. k−1
    inertia: NDArray[np.float64]  # (restarts,)

    @property
    def best(self) -> int:
        """The restart with the least inertia; ties: the first."""
        return int(np.argmin(self.inertia))


def kmeans(points: NDArray[np.float64], k: int, *, restarts: int, rng: np.random.Generator) -> KMeans:
    """Minimise Σ_i ‖x_i − μ(label_i)‖² over labels in 0 .. k−1, where μ(c) is the mean of the points labelled c.

    Each restart is greedy k-means++ seeding (Arthur & Vassilvitskii, 2007, with 2 + ⌊ln k⌋ candidates per step, as in
    ``sklearn.cluster.KMeans``), then Lloyd's iterations until no point moves. A cluster's last point never leaves it,
    so all k clusters have members even if points coincide. Time O(restarts · n · (n + k · iterations)) after one
    product O(n² d); memory O(n²).

    Parameters
    ----------
    points : ndarray of shape (n, d), float64
        Few of many dimensions: only their scalar products are used.
    k : int
        From 1 to n.
    restarts : int
        1 or more.
    rng : Generator
        Of the seeding.

    Returns
    -------
    KMeans
        ``labels`` (restarts, n) and ``inertia`` (restarts,), the minimum found, of every restart; ``best``, the one of
        least inertia.

    Raises
    ------
    ValueError
        For other numbers of clusters or restarts, and for points that are not a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis.kmeans import kmeans
    >>> found = kmeans(np.array([[0.0], [0.2], [5.0]]), 2, restarts=3, rng=np.random.default_rng(0))
    >>> labels = found.labels[found.best]
    >>> bool(labels[0] == labels[1] != labels[2]), round(float(found.inertia[found.best]), 6)
    (True, 0.02)
    """
    if points.ndim != 2:
        raise ValueError(f"points have two axes (n, d), found shape {points.shape}")
    if not 1 <= k <= len(points) or restarts < 1:
        raise ValueError(
            f"k-means needs k from 1 to the {len(points)} points and at least 1 restart, "
            f"got k = {k} and {restarts} restarts"
        )
    gram = points @ points.T
    candidates = 2 + int(np.log(k))
    draws = rng.random((restarts, k, candidates))
    labels = np.empty((restarts, len(points)), dtype=np.int64)
    inertia = np.array([_lloyd(gram, draws[i], labels[i]) for i in range(restarts)])
    return KMeans(labels, inertia)


@njit(cache=True, nogil=True)
def _lloyd(gram: NDArray[np.float64], draws: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """One restart: fills ``labels`` (n,), returns the inertia. ``draws`` (k, candidates) are from [0, 1)."""
    n, k = gram.shape[0], draws.shape[0]
    own = _seed(gram, draws, labels)  # squared distance of each point to its centre
    sizes = np.zeros(k, dtype=np.int64)
    sums = np.zeros((k, n))  # sums[c, i] = Σ over j in cluster c of x_j · x_i
    norm = 0.0
    for i in range(n):
        norm += gram[i, i]
        sizes[labels[i]] += 1
        sums[labels[i]] += gram[i]
    # If moves that gain less than rounding were allowed, equally distant points could move forever.
    tolerance = 1e-12 * norm / n

    nearest = np.empty(n)
    nearest_cluster = np.empty(n, dtype=np.int64)
    for _ in range(MAX_ITERATIONS):
        centre_norms = np.zeros(k)
        for i in range(n):
            centre_norms[labels[i]] += sums[labels[i], i]
        nearest[:] = np.inf
        for c in range(k):
            offset = centre_norms[c] / sizes[c] ** 2
            scale = 2.0 / sizes[c]
            row = sums[c]
            for i in range(n):
                distance = gram[i, i] + offset - scale * row[i]
                if labels[i] == c:
                    own[i] = distance
                if distance < nearest[i]:
                    nearest[i] = distance
                    nearest_cluster[i] = c
        moved = False
        for i in range(n):
            old, new = labels[i], nearest_cluster[i]
            if nearest[i] + tolerance < own[i] and sizes[old] > 1:
                sums[old] -= gram[i]
                sums[new] += gram[i]
                sizes[old] -= 1
                sizes[new] += 1
                labels[i] = new
                moved = True
        if not moved:
            break
    inertia: float = own.sum()
    return inertia


@njit(cache=True, nogil=True)
def _seed(gram: NDArray[np.float64], draws: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Greedy k-means++: writes each point's nearest centre to ``labels`` and returns its squared distance."""
    n, k = gram.shape[0], draws.shape[0]
    squares = np.diag(gram).copy()
    labels[:] = 0
    first = int(draws[0, 0] * n)
    nearest: NDArray[np.float64] = np.maximum(squares + squares[first] - 2.0 * gram[first], 0.0)
    nearest[first] = 0.0
    is_centre = np.zeros(n, dtype=np.bool_)
    is_centre[first] = True
    for c in range(1, k):
        cumulative = np.cumsum(nearest)
        centre = -1
        if cumulative[-1] == 0.0:  # every point is on a centre: take any point that is not a centre itself
            centre = int(np.argmin(is_centre))
        else:
            least = np.inf
            for draw in draws[c]:
                candidate = min(np.searchsorted(cumulative, draw * cumulative[-1], side="right"), n - 1)
                while nearest[candidate] == 0.0:  # only if rounding moved the draw to the very end
                    candidate -= 1
                potential = 0.0
                for i in range(n):
                    distance = squares[i] + squares[candidate] - 2.0 * gram[candidate, i]
                    potential += min(max(distance, 0.0), nearest[i])
                if potential < least:
                    least, centre = potential, candidate
        is_centre[centre] = True
        for i in range(n):
            distance = max(squares[i] + squares[centre] - 2.0 * gram[centre, i], 0.0)
            if distance < nearest[i]:
                nearest[i] = distance
                labels[i] = c
        nearest[centre] = 0.0
        labels[centre] = c
    return nearest
