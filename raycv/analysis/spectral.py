"""Spectral clustering of the units of two nets: many-to-many matching (paper, S.3.2).

The combined similarity graph has weights w_pq = corr(p, q) where that is above a threshold τ, and w_pp = 0.
The k eigenvectors with the smallest eigenvalues of its Laplacian L = D − W (von Luxburg, 2007, "A tutorial on
spectral clustering") are the columns of an embedding. k-means on its rows gives k clusters.

Special cases:

- An isolated unit has no edge above τ; dead units are isolated. It would add an eigenvalue 0, be a cluster of its
  own and use up one of the k eigenvectors. Isolated units are therefore left out: they have label −1 and are listed
  in ``isolated``. k counts the clusters of the other units.
- A graph in c connected pieces has the eigenvalue 0 c times. Every basis of those c eigenvectors gives the
  same distances between rows, so any k >= c is well defined. For k < c the choice of eigenvectors, and so the
  clusters, would be arbitrary: this raises Infeasible.
- If the k-th and the next eigenvalue are equal (exactly symmetric graphs), the embedding is arbitrary in the same
  way, but it is the same in every call.

Units are first sorted by degree, so neither their numbering nor the order of the nets matters: permuted input
gives permuted labels, except in graphs with units of equal degree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.clusters import ClusterMetrics, check_nets, cluster_metrics, modularity, stability
from raycv.analysis.graphs import similarity_graph
from raycv.analysis.infeasible import Infeasible
from raycv.analysis.kmeans import KMeans, kmeans
from raycv.extras import needed
from raycv.paper import CLUSTERS, CLUSTERS_FIRST, NODES_FIRST

with needed():
    from scipy.linalg import blas, eigh, lapack
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import LinearOperator, eigsh

K_RANGE = (2, 200)
TRIED_RESTARTS = 2  # of k-means for every k among which one is chosen; more hardly change the choice
DENSE_UP_TO = 4096  # units; above, Lanczos iterations are faster than the reduction to tridiagonal form


@dataclass(frozen=True)
class Spectrum:
    """The smallest eigenvalues of a graph's Laplacian and their eigenvectors, for use with every k.

    Attributes
    ----------
    units : ndarray of shape (n,), int64
        The numbers of the n units that have an edge, by rising degree.
    isolated : ndarray, int64
        The numbers of the other units.
    pieces : int
        Connected pieces of the graph; so many eigenvalues are 0.
    eigenvalues : ndarray of shape (m,)
        Ascending.
    embedding : ndarray of shape (n, m)
        Eigenvectors as columns; row i belongs to unit ``units[i]``.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import spectral_clusters
    >>> correlation = np.kron(np.eye(2), np.full((2, 2), 0.5)) + np.eye(4) / 2       # two pairs of units
    >>> found = spectral_clusters(correlation, 2, k=2).spectrum
    >>> found.pieces, found.eigenvalues.round(6).tolist(), found.embedding.shape
    (2, [0.0, 0.0, 1.0], (4, 3))
    """

    units: NDArray[np.int64]
    isolated: NDArray[np.int64]
    pieces: int
    eigenvalues: NDArray[np.float64]
    embedding: NDArray[np.float64]


@dataclass(frozen=True)
class SpectralClusters:
    """k clusters of the units of two nets, numbered 0 .. k−1 by falling size.

    Attributes
    ----------
    labels : ndarray of shape (S_a + S_b,), int64
        Each unit's cluster, −1 for isolated units: the restart with the least ``inertia``, renumbered.
    k : int
        How many clusters.
    eigenvalues : ndarray of shape (m,)
        The smallest of the Laplacian of the graph without isolated units, ascending; m > k if the graph has so many.
    isolated : ndarray, int64
        The numbers of the units without an edge, as dead ones are.
    metrics : ClusterMetrics
        Similarities per cluster.
    modularity : float
        Of the clusters in the same graph.
    inertia : float
        Of k-means: the sum of squared distances of embedded units from their cluster's mean.
    restart_labels : ndarray of shape (restarts, S_a + S_b), int64
        The result of each restart of k-means, with its own cluster numbers.
    spectrum : Spectrum
        What the clusters were made from.
    tried : mapping of int to float
        Where k was chosen from a range, the modularity for every k in it, from two restarts; else empty.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import spectral_clusters
    >>> correlation = np.kron(np.eye(2), np.full((2, 2), 0.5)) + np.eye(4) / 2       # units 0 and 1, units 2 and 3
    >>> found = spectral_clusters(correlation, 2, k=2)
    >>> found.labels[0] == found.labels[1] != found.labels[2] == found.labels[3], round(found.modularity, 6)
    (np.True_, 0.5)
    >>> found.restart_stability, found.isolated.tolist()
    (1.0, [])
    """

    labels: NDArray[np.int64]
    k: int
    eigenvalues: NDArray[np.float64]
    isolated: NDArray[np.int64]
    metrics: ClusterMetrics
    modularity: float
    inertia: float
    restart_labels: NDArray[np.int64]
    spectrum: Spectrum
    tried: Mapping[int, float] = field(default_factory=dict)

    @property
    def between_net_similarity(self) -> NDArray[np.float64]:
        """(k,): see ``ClusterMetrics``."""
        return self.metrics.between_net_similarity

    @property
    def within_net_similarity(self) -> NDArray[np.float64]:
        """(k,): see ``ClusterMetrics``."""
        return self.metrics.within_net_similarity

    @property
    def restart_stability(self) -> float:
        """Mean adjusted Rand index over all pairs of restarts: 1 where all find the same clusters."""
        return stability(list(self.restart_labels))


def spectral_clusters(
    correlation: NDArray[np.floating],
    n_source: int,
    k: int | None = None,
    *,
    threshold: float = 0.0,
    seed: int = 0,
    normalized: bool = False,
    restarts: int = 10,
    k_range: tuple[int, int] | None = None,
) -> SpectralClusters:
    """Cluster the units of two nets by spectral clustering (paper, S.3.2).

    The rows of the k eigenvectors with the smallest eigenvalues of the Laplacian of the similarity graph are clustered
    by k-means. Units without an edge above the threshold are left out. The result depends only on the arguments.

    Parameters
    ----------
    correlation : ndarray of shape (S_a + S_b, S_a + S_b)
        Combined (`combined_correlation`), NaN in the rows and columns of dead units.
    n_source : int
        S_a.
    k : int, optional
        How many clusters, from the number of connected pieces of the graph to that of units with an edge. None: in
        proportion to these units (`default_k`), or chosen from ``k_range``.
    threshold : float, default 0.0
        Correlations above it are edges.
    seed : int, default 0
        Of k-means.
    normalized : bool, default False
        Whether the paper's Laplacian L is replaced by the random-walk Laplacian D⁻¹L (Shi & Malik, 2000), as in
        ``sklearn.cluster.SpectralClustering``.
    restarts : int, default 10
        Of k-means; the one of least inertia is taken.
    k_range : (int, int), optional
        For ``k`` None: the k from the first to the last, as far as the graph allows them, whose clusters have the
        largest modularity; ties: the smallest k.

    Returns
    -------
    SpectralClusters
        Label −1 for units without an edge.

    Raises
    ------
    ValueError
        For a malformed matrix (see `similarity_graph`) and for ``n_source`` out of range.
    Infeasible
        For a threshold that leaves no edge, and for a k that the graph does not allow.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import combined_correlation, correlation, spectral_clusters
    >>> a = np.random.default_rng(0).standard_normal((500, 6))
    >>> b = a[:, ::-1]                                           # the same units in another order
    >>> joint = combined_correlation(correlation(a, a), correlation(a, b), correlation(b, b))
    >>> found = spectral_clusters(joint, 6, k=6, threshold=0.5)
    >>> bool((found.labels[:6] == found.labels[6:][::-1]).all()), found.metrics.between_net_similarity.round(3).tolist()
    (True, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """
    (found,) = sweep_clusters(
        correlation,
        n_source,
        [k],
        threshold=threshold,
        seed=seed,
        normalized=normalized,
        restarts=restarts,
        k_range=k_range,
    )
    return found


def default_k(lowest: int, highest: int) -> int:
    """Compute the paper's number of clusters, in proportion to the units with an edge.

    40 for the 192 units of two nets in conv1, at most 100: the k that the paper gives for all its layers (S.3.5).

    Parameters
    ----------
    lowest : int
        The smallest k that the graph allows, its connected pieces.
    highest : int
        The largest, its units with an edge.

    Returns
    -------
    int
        From the larger of ``lowest`` and 2 to ``highest``.

    Examples
    --------
    >>> from raycv.analysis import default_k
    >>> default_k(1, 192), default_k(1, 512), default_k(7, 20)
    (40, 100, 7)
    """
    scaled = min(CLUSTERS, round(highest * CLUSTERS_FIRST / NODES_FIRST))
    return min(max(scaled, lowest, 2), highest)


def allowed_k(correlation: NDArray[np.floating], threshold: float = 0.0) -> tuple[int, int]:
    """The smallest and the largest k that the graph allows: its connected pieces and its units with an edge.

    Raises ValueError for a malformed matrix (see ``similarity_graph``), Infeasible for a threshold that leaves no edge.
    """
    graph = _connected_graph(correlation, threshold)
    return graph.pieces, len(graph.units)


def sweep_clusters(
    correlation: NDArray[np.floating],
    n_source: int,
    ks: Iterable[int | None] | None = None,
    *,
    threshold: float = 0.0,
    seed: int = 0,
    normalized: bool = False,
    restarts: int = 10,
    k_range: tuple[int, int] | None = None,
) -> list[SpectralClusters]:
    """Cluster with several numbers of clusters, from one eigendecomposition.

    Parameters
    ----------
    correlation : ndarray of shape (S_a + S_b, S_a + S_b)
        As in `spectral_clusters`.
    n_source : int
        S_a.
    ks : iterable of int or None, optional
        Numbers of clusters; a None among them is the k that `spectral_clusters` takes. None: every k of ``k_range``
        that the graph allows, possibly none.
    threshold : float, default 0.0
        As in `spectral_clusters`.
    seed : int, default 0
        As in `spectral_clusters`.
    normalized : bool, default False
        As in `spectral_clusters`.
    restarts : int, default 10
        As in `spectral_clusters`.
    k_range : (int, int), optional
        First and last k; None: 2 to 200.

    Returns
    -------
    list of SpectralClusters
        One per k, in the order of ``ks``.

    Raises
    ------
    ValueError
        As `spectral_clusters`.
    Infeasible
        As `spectral_clusters`, before anything is computed.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, sweep_clusters
    >>> x = np.random.default_rng(0).standard_normal((500, 6))
    >>> twice = np.hstack([x, x])
    >>> [found.k for found in sweep_clusters(correlation(twice, twice), 6, [6, 8])]
    [6, 8]
    """
    check_nets(len(correlation), n_source)
    graph = _connected_graph(correlation, threshold)
    lowest, highest = graph.pieces, len(graph.units)
    if ks is None:
        first, last = k_range or K_RANGE
        ks = range(max(first, lowest), min(last, highest) + 1)
    ks = list(ks)
    given = [k for k in ks if k is not None]
    for k in given:
        _check_k(k, graph)
    choice = _choice(graph, k_range) if None in ks else range(0)
    spectrum = _spectrum(graph, max([*choice, *given], default=0) + 1, normalized)
    tried = _try(graph, spectrum, choice, seed) if k_range else {}
    chosen = max(choice, key=lambda k: tried.get(k, 0.0), default=0)
    found = [_cluster(graph, spectrum, correlation, n_source, chosen if k is None else k, seed, restarts) for k in ks]
    return [replace(result, tried=tried) if k is None else result for k, result in zip(ks, found, strict=True)]


@dataclass(frozen=True)
class _Graph:
    """The part of a similarity graph that has edges; ``weights`` and ``piece`` in the order of ``units``."""

    weights: NDArray[np.float64]
    units: NDArray[np.int64]
    isolated: NDArray[np.int64]
    piece: NDArray[np.int32]
    pieces: int


def _connected_graph(correlation: NDArray[np.floating], threshold: float) -> _Graph:
    weights = similarity_graph(correlation, threshold)
    degree = weights.sum(axis=1)
    by_degree = np.argsort(degree, kind="stable")
    units = by_degree[degree[by_degree] > 0]
    if not len(units):
        raise Infeasible(
            f"no correlation between two of the {len(weights)} units is above the threshold {threshold}: "
            "choose a lower threshold"
        )
    weights = weights[np.ix_(units, units)]
    pieces, piece = connected_components(csr_array(weights), directed=False)
    return _Graph(weights, units, np.flatnonzero(degree == 0), piece, pieces)


def _check_k(k: int, graph: _Graph) -> None:
    if not graph.pieces <= k <= len(graph.units):
        raise Infeasible(
            f"k must be from {graph.pieces}, the connected pieces of the graph, to {len(graph.units)}, "
            f"its units with an edge, got {k}: choose k in that range or another threshold"
        )


def _choice(graph: _Graph, k_range: tuple[int, int] | None) -> range:
    """The k from which one is chosen: ``k_range`` cut to what the graph allows, or ``default_k`` alone."""
    lowest, highest = graph.pieces, len(graph.units)
    first, last = k_range or [default_k(lowest, highest)] * 2
    first = min(max(first, lowest), highest)
    return range(first, max(first, min(last, highest)) + 1)


def _try(graph: _Graph, spectrum: Spectrum, choice: range, seed: int) -> dict[int, float]:
    """The modularity of the clusters for every k of ``choice``."""
    tried = {}
    for k in choice:
        found = _kmeans(spectrum, k, seed, TRIED_RESTARTS)
        tried[k] = modularity(graph.weights, found.labels[found.best])
    return tried


def _kmeans(spectrum: Spectrum, k: int, seed: int, restarts: int) -> KMeans:
    return kmeans(spectrum.embedding[:, :k], k, restarts=restarts, rng=np.random.default_rng([seed, k]))


def _spectrum(graph: _Graph, count: int, normalized: bool) -> Spectrum:
    """The ``count`` smallest eigenpairs, or all if there are fewer; at least one per piece of the graph.

    The eigenvectors of eigenvalue 0 are known: constant on one piece (times √degree for the normalised
    Laplacian), zero elsewhere. Their eigenvalues are moved above the spectrum. The solver then has a positive
    definite matrix without a multiple eigenvalue 0, which Lanczos iterations could miss.
    """
    n = len(graph.units)
    degree = graph.weights.sum(axis=1)
    scale = np.sqrt(degree) if normalized else np.ones(n)  # L or D^-½ L D^-½
    laplacian = -graph.weights
    laplacian /= scale[:, None]
    laplacian /= scale
    laplacian[np.diag_indices(n)] = degree / scale**2
    null = np.zeros((n, graph.pieces))
    null[np.arange(n), graph.piece] = scale
    null /= np.linalg.norm(null, axis=0)
    above = 3 * np.diag(laplacian).max()  # the largest eigenvalue is at most 2 · that maximum
    laplacian += above * (null @ null.T)

    others = min(count, n) - graph.pieces
    values, vectors = np.empty(0), np.empty((n, 0))
    if others > 0:
        values, vectors = (_dense if n <= DENSE_UP_TO else _iterative)(laplacian, others)
    return Spectrum(
        graph.units,
        graph.isolated,
        graph.pieces,
        np.concatenate([np.zeros(graph.pieces), np.maximum(values, 0.0)]),
        np.hstack([null, vectors]) / scale[:, None],
    )


def _dense(matrix: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ``count`` smallest eigenpairs of a symmetric matrix; overwrites the matrix."""
    values, vectors = eigh(matrix, subset_by_index=(0, count - 1), overwrite_a=True, check_finite=False)
    return values, vectors


def _iterative(matrix: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same for a positive definite matrix, by Lanczos iterations on its inverse, which overwrites the matrix.

    The only other memory needed is the Lanczos basis (n, 2·count + 1).
    """
    factor, _ = lapack.dpotrf(matrix.T, lower=1, overwrite_a=1)  # the transpose is what Fortran can overwrite
    inverse, info = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"the Laplacian of {len(matrix)} units is singular in floating point")
    operator = LinearOperator(matrix.shape, matvec=lambda x: blas.dsymv(1.0, inverse, x, lower=1), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(matrix))
    values, vectors = eigsh(operator, k=count, which="LM", v0=start)
    order = np.argsort(-values)
    return 1 / values[order], vectors[:, order]


def _cluster(
    graph: _Graph,
    spectrum: Spectrum,
    correlation: NDArray[np.floating],
    n_source: int,
    k: int,
    seed: int,
    restarts: int,
) -> SpectralClusters:
    found = _kmeans(spectrum, k, seed, restarts)
    restart_labels = np.full((restarts, len(correlation)), -1)
    restart_labels[:, spectrum.units] = found.labels
    labels = np.full(len(correlation), -1)
    labels[spectrum.units] = number_by_size(found.labels[found.best])
    return SpectralClusters(
        labels=labels,
        k=k,
        eigenvalues=spectrum.eigenvalues,
        isolated=spectrum.isolated,
        metrics=cluster_metrics(correlation, n_source, labels),
        modularity=modularity(graph.weights, labels[graph.units]),
        inertia=float(found.inertia[found.best]),
        restart_labels=restart_labels,
        spectrum=spectrum,
    )


def number_by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same partition with clusters numbered by falling size, equal sizes by first appearance."""
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return rank[inverse]
