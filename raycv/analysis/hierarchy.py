"""Hierarchical spectral clustering (paper, S.3.4): clusters that are too large are split again, which makes a tree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.kmeans import kmeans
from raycv.analysis.spectral import SpectralClusters, number_by_size


@dataclass(frozen=True)
class ClusterTree:
    """A tree of clusters; nodes 0 .. k−1 are the original ones, with their numbers, and children have larger numbers.

    Attributes
    ----------
    parent : ndarray of shape (nodes,), int64
        −1 for the first k nodes.
    leaf : ndarray of shape (units,), int64
        The node without children that contains the unit; −1 for isolated units.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import ClusterTree
    >>> tree = ClusterTree(parent=np.array([-1, -1, 0, 0]), leaf=np.array([2, 3, 1, -1]))
    >>> tree.leaves.tolist(), tree.labels.tolist(), tree.members(0).tolist()
    ([1, 2, 3], [1, 2, 0, -1], [0, 1])
    """

    parent: NDArray[np.int64]
    leaf: NDArray[np.int64]

    @property
    def leaves(self) -> NDArray[np.int64]:
        """Numbers of the nodes without children."""
        return np.setdiff1d(np.arange(len(self.parent)), self.parent)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(units,): the final clusters, numbered in the order of ``leaves``; −1 for isolated units."""
        return np.where(self.leaf < 0, -1, np.searchsorted(self.leaves, self.leaf))

    def members(self, node: int) -> NDArray[np.int64]:
        """Number the units below a node.

        Parameters
        ----------
        node : int
            Any, of the tree.

        Returns
        -------
        ndarray, int64
            Rising.
        """
        below = np.zeros(len(self.parent) + 1, dtype=bool)  # one more entry, so that index −1 means "no node"
        below[node] = True
        for child in range(node + 1, len(self.parent)):
            below[child] = below[self.parent[child]]
        return np.flatnonzero(below[self.leaf])


def split_clusters(
    clusters: SpectralClusters, *, alpha: float = 0.025, seed: int = 0, restarts: int = 10
) -> ClusterTree:
    """Split clusters that are too large, and their parts likewise (paper, S.3.4).

    k-means runs on the cluster's rows of the embedding that made the clusters. The paper does not give the number of
    parts; here it is ⌈size / limit⌉, the fewest that can meet the limit.

    Parameters
    ----------
    clusters : SpectralClusters
        Of S_a + S_b units.
    alpha : float, default 0.025
        The limit is alpha · (S_a + S_b) units.
    seed : int, default 0
        Of k-means.
    restarts : int, default 10
        Of k-means.

    Returns
    -------
    ClusterTree
        A leaf exceeds the limit only if all its rows are the same, so that it cannot be split. This is a whole
        connected piece, when k is the number of pieces.

    Raises
    ------
    ValueError
        If the limit is below one unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, spectral_clusters, split_clusters
    >>> x = np.random.default_rng(0).standard_normal((50, 12))
    >>> tree = split_clusters(spectral_clusters(correlation(x, x), 6, k=2), alpha=0.25)
    >>> bool(max(len(tree.members(leaf)) for leaf in tree.leaves) <= 3)
    True
    """
    limit = alpha * len(clusters.labels)
    if not limit >= 1:
        raise ValueError(
            f"alpha = {alpha} allows {limit:g} units to a cluster of {len(clusters.labels)} units in all: "
            f"alpha must be 1/{len(clusters.labels)} or more"
        )
    units, embedding = clusters.spectrum.units, clusters.spectrum.embedding[:, : clusters.k]
    parent = [-1] * clusters.k
    node_of = clusters.labels[units]
    node = 0
    while node < len(parent):
        rows = np.flatnonzero(node_of == node)
        if len(rows) > limit and not _same(embedding[rows]):
            parts = math.ceil(len(rows) / limit)
            rng = np.random.default_rng([seed, clusters.k, node])
            found = kmeans(embedding[rows], parts, restarts=restarts, rng=rng)
            node_of[rows] = len(parent) + number_by_size(found.labels[found.best])
            parent += [node] * parts
        node += 1
    leaf = np.full(len(clusters.labels), -1)
    leaf[units] = node_of
    return ClusterTree(np.array(parent), leaf)


def _same(rows: NDArray[np.float64]) -> bool:
    """Whether all rows are equal up to rounding; k-means would split such rows by their rounding errors."""
    return bool(np.ptp(rows, axis=0).max() <= 1e-9 * np.abs(rows).max())
