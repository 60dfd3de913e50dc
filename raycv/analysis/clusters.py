"""Quality of a partition of the units of two nets (paper, S.3.5), for any clustering method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from raycv.extras import needed

with needed():
    from numba import njit


@dataclass(frozen=True)
class ClusterMetrics:
    """Similarities of k clusters of the units of two nets (paper, S.3.5).

    Attributes
    ----------
    between_net_similarity : ndarray of shape (k,)
        The mean correlation over all pairs of a source unit and a target unit of the cluster; 0 if the cluster has
        units of one net only, as in the paper's figure 16.
    within_net_similarity : ndarray of shape (k,)
        (Sim_X→X + Sim_Y→Y) / 2, where Sim_X→X is the mean over all ordered pairs of the cluster's units in X, each unit
        with itself included. For a cluster in one net only it is that net's mean.
    units_per_net : ndarray of shape (k, 2), int64
        Units in the source net and in the target net.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import cluster_metrics
    >>> found = cluster_metrics(np.eye(4), 2, np.array([0, 0, 1, -1]))     # the fourth unit is in no cluster
    >>> found.units_per_net.tolist(), found.one_net.tolist(), found.single_unit.tolist(), found.units_two_net
    ([[2, 0], [0, 1]], [0, 1], [1], 0)
    """

    between_net_similarity: NDArray[np.float64]
    within_net_similarity: NDArray[np.float64]
    units_per_net: NDArray[np.int64]

    @property
    def one_net(self) -> NDArray[np.int64]:
        """Numbers of the clusters with units of one net only."""
        return np.flatnonzero((self.units_per_net == 0).any(axis=1))

    @property
    def single_unit(self) -> NDArray[np.int64]:
        """Numbers of the clusters of one unit."""
        return np.flatnonzero(self.units_per_net.sum(axis=1) == 1)

    @property
    def units_two_net(self) -> int:
        """The number of units in clusters with units of both nets."""
        return int(self.units_per_net[(self.units_per_net > 0).all(axis=1)].sum())

    @property
    def order(self) -> NDArray[np.int64]:
        """Cluster numbers by falling between-net similarity: the horizontal axis of figure 16."""
        return np.argsort(-self.between_net_similarity, kind="stable")


def cluster_metrics(correlation: NDArray[np.floating], n_source: int, labels: NDArray[np.int64]) -> ClusterMetrics:
    """Compute similarities within and between nets for every cluster (paper, S.3.5).

    All correlations count, negative ones and those below any threshold, too. In S.3.5 both sums are divided by the
    number of units squared. Here the between-net sum of a cluster with n_X units in one net and n_Y in the other is
    divided by n_X·n_Y, which is the same if the numbers are equal.

    Parameters
    ----------
    correlation : ndarray of shape (n, n)
        Of all units of both nets; a dead unit, NaN, makes those of its cluster NaN.
    n_source : int
        The first so many units are the source net's.
    labels : ndarray of shape (n,), int
        Clusters 0 .. k−1, or −1 for a unit in none, as dead ones should be.

    Returns
    -------
    ClusterMetrics
        Of k clusters.

    Raises
    ------
    ValueError
        For shapes that do not fit, and where a net would have no unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import cluster_metrics
    >>> correlation = np.array([[1, 0, 0.8, 0], [0, 1, 0, 0.6], [0.8, 0, 1, 0], [0, 0.6, 0, 1]])
    >>> found = cluster_metrics(correlation, 2, np.array([0, 1, 0, 1]))
    >>> found.between_net_similarity.tolist(), found.within_net_similarity.tolist()
    ([0.8, 0.6], [1.0, 1.0])
    """
    _check_labels(correlation, labels)
    check_nets(len(labels), n_source)
    k = int(labels.max(initial=-1)) + 1
    members = np.flatnonzero(labels >= 0)
    members = members[np.argsort(labels[members], kind="stable")]  # cluster by cluster
    net = (members >= n_source).astype(np.int64)
    counts = np.bincount(2 * labels[members] + net, minlength=2 * k).reshape(k, 2)
    ends = np.cumsum(counts.sum(axis=1))
    pairs = counts[:, :, None] * counts[:, None, :]
    means = _pair_sums(correlation, members, net, ends) / np.maximum(pairs, 1)
    nets = np.maximum((counts > 0).sum(axis=1), 1)
    return ClusterMetrics(means[:, 0, 1], (means[:, 0, 0] + means[:, 1, 1]) / nets, counts)


@njit(cache=True, nogil=True)
def _pair_sums(
    correlation: NDArray[np.floating],
    members: NDArray[np.int64],
    net: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(k, 2, 2): sums of correlations over the pairs of members of each cluster, by the nets of the two members.

    The members of cluster c are at positions ``ends[c − 1]`` up to ``ends[c]``.
    """
    sums = np.zeros((len(ends), 2, 2))
    first = 0
    for c, end in enumerate(ends):
        for i in range(first, end):
            for j in range(first, end):
                sums[c, net[i], net[j]] += correlation[members[i], members[j]]
        first = end
    return sums


def modularity(weights: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Compute Newman's modularity of a partition of a weighted graph.

    Q = Σ_c [W_c / W − (D_c / W)²] (Newman, 2004, "Analysis of weighted networks"). W is the sum of all degrees, W_c
    that of the weights within cluster c, each edge counted twice in both, and D_c that of c's degrees. Q is how much
    more of the weight lies within clusters than if edges joined units of the same degrees at random.

    Parameters
    ----------
    weights : ndarray of shape (n, n)
        Of edges, symmetric and 0 or more, as `similarity_graph` gives them, with one edge or more.
    labels : ndarray of shape (n,), int
        Clusters 0 .. k−1. Units labelled −1 add nothing; they should have no edge.

    Returns
    -------
    float
        0 for one cluster, below 1.

    Raises
    ------
    ValueError
        For shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import modularity
    >>> pairs = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    >>> modularity(pairs, np.array([0, 0, 1, 1])), modularity(pairs, np.array([0, 1, 0, 1]))
    (0.5, -0.5)
    """
    _check_labels(weights, labels)
    degree = weights.sum(axis=1)
    total = degree.sum()
    clusters = [np.flatnonzero(labels == c) for c in range(int(labels.max(initial=-1)) + 1)]
    return float(sum(weights[np.ix_(c, c)].sum() / total - (degree[c].sum() / total) ** 2 for c in clusters))


def stability(partitions: Sequence[NDArray[np.int64]]) -> float:
    """Average the adjusted Rand index over all pairs of partitions of the same units (Hubert & Arabie, 1985).

    Parameters
    ----------
    partitions : sequence of ndarray of shape (n,), int
        Such as one clustering's ``restart_labels``, or the ``labels`` found with several seeds. Units labelled −1 in
        any partition are left out.

    Returns
    -------
    float
        1 if all partitions agree or there is only one, about 0 for independent partitions.

    Raises
    ------
    ValueError
        For partitions of different numbers of units, and for none.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import stability
    >>> stability([np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])])      # numbers of clusters mean nothing
    1.0
    """
    with needed():
        from sklearn.metrics import adjusted_rand_score  # which takes two seconds

    stacked = np.stack(partitions)
    labelled = stacked[:, (stacked >= 0).all(axis=0)]
    scores = [adjusted_rand_score(a, b) for a, b in combinations(labelled, 2)]
    return float(np.mean(scores)) if scores else 1.0


def _check_labels(matrix: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
    """Raise ValueError unless there is one label for each unit: compiled code does not look whether there is."""
    if labels.ndim != 1 or matrix.shape != (len(labels), len(labels)):
        raise ValueError(f"labels of shape {labels.shape} do not fit a matrix of shape {matrix.shape}: give one a unit")


def check_nets(n_units: int, n_source: int) -> None:
    """Raise ValueError unless ``n_source`` leaves at least one unit in each net."""
    if not 0 < n_source < n_units:
        raise ValueError(
            f"n_source must be from 1 to {n_units - 1}, at least one of the {n_units} units in each net, got {n_source}"
        )
