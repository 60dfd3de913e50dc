"""Hierarchical clustering of the units of two nets by their mapping layer (paper, section 4, figure 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from raycv.analysis.arrays import Floats, Ints
from raycv.extras import needed

with needed():
    from numba import njit


@dataclass(frozen=True)
class Agglomeration:
    """The tree over n = S_b + S_a leaves: leaf i < S_b is row i of the weights, leaf S_b + j is column j.

    Attributes
    ----------
    merges : ndarray of shape (n − 1, 4)
        Rows as in ``scipy.cluster.hierarchy.linkage``: the numbers of the two merged clusters (0 to n − 1 for leaves, n
        + r for the cluster of row r; the smaller number first), the average weight between them in place of a distance,
        and the number of leaves in the new cluster. The averages never rise, except by rounding, so ``merges[0, 2] -
        merges[:, 2]`` are distances for ``scipy.cluster.hierarchy.dendrogram``.

    Examples
    --------
    >>> from raycv.analysis import agglomerate
    >>> tree = agglomerate([[0.9, 0.1], [0.0, 0.5]])
    >>> tree.leaf_order.tolist(), tree.cut(2).tolist()
    ([0, 2, 1, 3], [0, 1, 0, 1])
    """

    merges: Floats

    @property
    def leaf_order(self) -> Ints:
        """(n,): the leaves in tree order, with the first cluster of each merge first."""
        leaves = len(self.merges) + 1
        children = self.merges[:, :2].astype(np.int64)
        order, pending = [], [2 * leaves - 2]
        while pending:
            cluster = pending.pop()
            if cluster < leaves:
                order.append(cluster)
            else:
                pending += children[cluster - leaves, ::-1].tolist()
        return np.array(order, dtype=np.int64)

    def cut(self, n_clusters: int) -> Ints:
        """Cut the tree into clusters.

        Parameters
        ----------
        n_clusters : int
            How many are left, from 1 to n.

        Returns
        -------
        ndarray of shape (n,), int64
            The cluster of each leaf; clusters are numbered by their lowest leaves.

        Raises
        ------
        ValueError
            For another number.
        """
        leaves = len(self.merges) + 1
        if not 1 <= n_clusters <= leaves:
            raise ValueError(f"a tree of {leaves} leaves is cut into 1 to {leaves} clusters, not {n_clusters}")
        lowest = np.arange(2 * leaves - 1)  # leaf of each cluster, and of the cluster that each leaf went into
        made = leaves - n_clusters
        for row, (a, b) in enumerate(self.merges[:made, :2].astype(np.int64)):
            lowest[leaves + row] = min(lowest[a], lowest[b])
        for row in range(made - 1, -1, -1):
            lowest[self.merges[row, :2].astype(np.int64)] = lowest[leaves + row]
        labels: Ints = np.unique(lowest[:leaves], return_inverse=True)[1].astype(np.int64)
        return labels


def agglomerate(weights: ArrayLike, reverse: ArrayLike | None = None) -> Agglomeration:
    """Merge the two clusters with the largest average weight between them until one is left (paper, section 4).

    The weight between units p and q is B_pq of B = [I, W; Wᵀ, I], so it is 0 within a net. The weight between two
    clusters is the average over all pairs with a unit from each. n = S_b + S_a units take n − 1 merges, the paper's 2S
    − 1. Apart from ties, the merges are those of ``scipy.cluster.hierarchy.linkage(c - B, "average")``.

    Sparse weights give many averages of 0, which tie. Ties: the pair that contains the cluster with the lowest leaf;
    among those, the pair whose other cluster has the lowest leaf. Memory: one matrix of B's size and a few numbers per
    leaf. Time: O(n²) as a rule, O(n³) at worst.

    Parameters
    ----------
    weights : array_like of shape (S_b, S_a)
        W, a mapping layer.
    reverse : array_like of shape (S_a, S_b), optional
        The mapping layer in the other direction; then B = [I, W; reverse, I] (footnote 11), and a pair's weight is the
        average of B_pq and B_qp.

    Returns
    -------
    Agglomeration
        The tree.

    Raises
    ------
    ValueError
        For weights that are empty or not a matrix of finite numbers, and for a ``reverse`` of the wrong shape.

    Examples
    --------
    >>> from raycv.analysis import agglomerate
    >>> agglomerate([[0.9, 0.1], [0.0, 0.5]]).merges.tolist()
    [[0.0, 2.0, 0.9, 2.0], [1.0, 3.0, 0.5, 2.0], [4.0, 5.0, 0.025, 4.0]]
    """
    corner = _matrix("weights", weights)
    if reverse is not None:
        back = _matrix("reverse", reverse)
        if back.shape != corner.T.shape:
            raise ValueError(f"reverse must be of shape {corner.T.shape}, as weights transposed, found {back.shape}")
        corner = (corner + back.T) / 2
    rows, columns = corner.shape
    sums = np.zeros((rows + columns, rows + columns))
    sums[:rows, rows:] = corner
    sums[rows:, :rows] = corner.T
    merges = np.empty((len(sums) - 1, 4))
    _merge_all(sums, merges)
    return Agglomeration(merges)


def _matrix(name: str, values: ArrayLike) -> Floats:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be a matrix of finite numbers with a row and a column or more")
    return matrix


@njit(cache=True, nogil=True)
def _merge_all(sums: Floats, merges: Floats) -> None:
    """Fill ``merges``; ``sums`` (n, n), the weights between leaves, is overwritten by sums between clusters.

    A cluster is stored in the row of its lowest leaf. Each row keeps its best partner in a later row. A merge changes
    the best partner of few rows. If it removes a row's partner, the old average stays as an upper bound, and the row
    is searched again only when that bound is the largest of all (Müllner, 2011, the generic algorithm).
    """
    n = len(sums)
    sizes, number = np.ones(n), np.arange(n)  # size 0: merged into another row
    best, partner = np.empty(n), np.empty(n, np.int64)
    for i in range(n):
        best[i], partner[i] = _best_partner(sums, sizes, i)
    for merge in range(n - 1):
        i = int(np.argmax(best))  # the first of equals
        while partner[i] < 0:
            best[i], partner[i] = _best_partner(sums, sizes, i)
            i = int(np.argmax(best))
        j = partner[i]
        merges[merge, 0], merges[merge, 1] = min(number[i], number[j]), max(number[i], number[j])
        merges[merge, 2], merges[merge, 3] = best[i], sizes[i] + sizes[j]
        sizes[i] += sizes[j]
        sizes[j], best[j], number[i] = 0.0, -np.inf, n + merge
        for k in range(n):
            sums[i, k] += sums[j, k]
        for k in range(n):
            if sizes[k] == 0.0 or k == i:
                continue
            sums[k, i] = sums[i, k]
            if k < j and (partner[k] == j or partner[k] == i):
                partner[k] = -1
            if k < i:
                average = sums[i, k] / (sizes[i] * sizes[k])
                if average > best[k] or (average == best[k] and partner[k] > i):
                    best[k], partner[k] = average, i
        best[i], partner[i] = _best_partner(sums, sizes, i)


@njit(cache=True, nogil=True)
def _best_partner(sums: Floats, sizes: Floats, i: int) -> tuple[float, int]:
    """The largest average weight of row i with a later row, and the first such row; −∞ and i where there is none."""
    best, partner = -np.inf, i
    for k in range(i + 1, len(sums)):
        if sizes[k] > 0.0:
            average = sums[i, k] / (sizes[i] * sizes[k])
            if average > best:
                best, partner = average, k
    return best, partner
