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
    """A tree whose nodes 0 .. k−1 are the original clusters, with their numbers; children have larger numbers.

    ``parent`` (nodes,) is −1 for the first k nodes. ``leaf`` (units,) is the node without children that contains
    the unit, −1 for isolated units.
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
        """Numbers of the units below ``node``."""
        below = np.zeros(len(self.parent) + 1, dtype=bool)  # one more entry, so that index −1 means "no node"
        below[node] = True
        for child in range(node + 1, len(self.parent)):
            below[child] = below[self.parent[child]]
        return np.flatnonzero(below[self.leaf])


def split_clusters(
    clusters: SpectralClusters, *, alpha: float = 0.025, seed: int = 0, restarts: int = 10
) -> ClusterTree:
    """Split every cluster larger than the limit, 2·alpha·S = alpha·(S_a + S_b) units, and split its parts likewise.

    k-means runs on the cluster's rows of the embedding that made the clusters (k eigenvectors). The paper does not
    give the number of parts; here it is ⌈size / limit⌉, the fewest that can meet the limit. A leaf exceeds the limit
    only if all its rows are the same, so that it cannot be split. This is a whole connected piece, when k is the
    number of pieces.

    Raises ValueError if the limit is below one unit.
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
