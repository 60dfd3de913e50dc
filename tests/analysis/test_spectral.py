"""Spectral clusters, their tree and their metrics: planted blocks, theorems, sklearn, brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from raycv.analysis import spectral
from raycv.analysis.clusters import cluster_metrics, modularity, stability
from raycv.analysis.graphs import combined_correlation, similarity_graph
from raycv.analysis.hierarchy import split_clusters
from raycv.analysis.kmeans import kmeans
from raycv.analysis.spectral import default_k, spectral_clusters, sweep_clusters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def planted(seed: int, blocks: int = 6, units: int = 70, noise: float = 0.6) -> tuple[Floats, Ints]:
    """Correlations of ``units`` noisy copies of ``blocks`` signals in random order, and those signals."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(
        np.concatenate([np.repeat(np.arange(blocks), 4), rng.integers(blocks, size=units - 4 * blocks)])
    )
    samples = rng.standard_normal((2000, blocks))[:, truth] + noise * rng.standard_normal((2000, units))
    return np.asarray(np.corrcoef(samples.T)), truth


def random_correlation(seed: int, units: int) -> Floats:
    """Correlations of few samples: positive and negative entries of every size, no structure, no symmetry."""
    correlation = np.corrcoef(np.random.default_rng(seed).standard_normal((units, 6)))
    return np.maximum(correlation, correlation.T)


def islands(*sizes: int) -> Floats:
    """A correlation matrix of blocks with correlations of their own inside and −0.1 between them."""
    rng = np.random.default_rng(0)
    matrix = np.full((sum(sizes), sum(sizes)), -0.1)
    first = 0
    for size in sizes:
        block = rng.uniform(0.3, 0.9, (size, size))
        matrix[first : first + size, first : first + size] = (block + block.T) / 2
        first += size
    np.fill_diagonal(matrix, 1.0)
    return matrix


# Graphs (S.3.1)


def test_graphs_are_the_papers_definition() -> None:
    correlation = random_correlation(1, 9)
    correlation[:, 4] = correlation[4, :] = np.nan
    graph = similarity_graph(correlation, 0.2)
    for p, q in itertools.product(range(9), repeat=2):
        c = correlation[p, q]
        assert graph[p, q] == (c if p != q and c > 0.2 else 0.0)
    cross = correlation[:5, 5:]
    between = np.zeros((9, 9))
    between[:5, 5:] = np.where(cross > 0.2, cross, 0)
    between[5:, :5] = between[:5, 5:].T
    combined = combined_correlation(correlation[:5, :5], cross, correlation[5:, 5:])
    np.testing.assert_array_equal(combined, correlation)
    nets_alone = np.zeros((9, 9))
    nets_alone[:5, :5] = similarity_graph(correlation[:5, :5], 0.2)
    nets_alone[5:, 5:] = similarity_graph(correlation[5:, 5:], 0.2)
    np.testing.assert_array_equal(nets_alone + between, graph)  # G_X + G_Y + G_XY


def test_malformed_matrices_are_named() -> None:
    good = random_correlation(0, 6)
    stray, lopsided, infinite = good.copy(), good.copy(), good.copy()
    stray[1, 3] = stray[3, 1] = np.nan
    lopsided[1, 3] += 0.1
    infinite[1, 3] = infinite[3, 1] = np.inf
    cases = [
        (good[:, :5], "square"),
        (stray, r"2 correlations between live units are NaN, the first at \(1, 3\)"),
        (lopsided, "not symmetric"),
        (infinite, "infinite"),
    ]
    for matrix, message in cases:
        with pytest.raises(ValueError, match=message):
            spectral_clusters(matrix, 3, 2)
    for threshold in (-0.1, np.nan):
        with pytest.raises(ValueError, match="threshold must be 0 or more"):
            similarity_graph(good, threshold)
    for n_source in (0, 6):
        with pytest.raises(ValueError, match="n_source must be from 1 to 5"):
            spectral_clusters(good, n_source, 2)
    with pytest.raises(ValueError, match="do not fit"):
        combined_correlation(good, good[:, :4], good)


# Clusters (S.3.2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_planted_blocks_are_recovered_and_counted(seed: int, normalized: bool, threshold: float) -> None:
    correlation, truth = planted(seed)
    given_k = spectral_clusters(correlation, 30, 6, threshold=threshold, normalized=normalized)
    assert adjusted_rand_score(truth, given_k.labels) == 1
    found_k = spectral_clusters(correlation, 30, threshold=threshold, normalized=normalized, k_range=(2, 200))
    assert found_k.k == 6
    np.testing.assert_array_equal(found_k.labels, given_k.labels)
    assert found_k.restart_stability > 0.8
    sizes = np.bincount(given_k.labels)
    assert (np.diff(sizes) <= 0).all()
    np.testing.assert_array_equal(given_k.metrics.units_per_net.sum(axis=1), sizes)


@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_eigenvalues_are_the_laplacians(threshold: float) -> None:
    correlation = random_correlation(3, 40)
    weights = np.where(correlation > threshold, correlation, 0.0)
    np.fill_diagonal(weights, 0.0)
    degree = weights.sum(axis=1)
    paper = np.linalg.eigvalsh(np.diag(degree) - weights)
    normalized = np.linalg.eigvalsh(np.eye(40) - weights / np.sqrt(np.outer(degree, degree)))
    for k in (10, 40):
        found = spectral_clusters(correlation, 20, k, threshold=threshold)
        np.testing.assert_allclose(found.eigenvalues, paper[: k + 1], atol=1e-10)
        found = spectral_clusters(correlation, 20, k, threshold=threshold, normalized=True)
        np.testing.assert_allclose(found.eigenvalues, normalized[: k + 1], atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_normalized_variant_agrees_with_sklearn(seed: int) -> None:
    correlation, _ = planted(seed, noise=1.2)
    weights = similarity_graph(correlation, 0.05)
    sklearn = SpectralClustering(6, affinity="precomputed", n_init=30, random_state=0).fit_predict(weights)
    ours = spectral_clusters(correlation, 30, 6, threshold=0.05, normalized=True, restarts=30).labels
    assert adjusted_rand_score(sklearn, ours) == 1


@given(
    seed=st.integers(0, 10**6),
    units=st.integers(8, 30),
    k=st.integers(2, 8),
    threshold=st.sampled_from([0.0, 0.1]),
    normalized=st.booleans(),
)
def test_relabelling_units_permutes_the_labels(
    seed: int, units: int, k: int, threshold: float, normalized: bool
) -> None:
    correlation = random_correlation(seed, units)
    degrees = similarity_graph(correlation, threshold).sum(1)
    assume(np.diff(np.sort(degrees[degrees > 0])).min(initial=1) > 1e-9)  # equal ones are the documented exception
    order = np.random.default_rng(seed + 1).permutation(units)
    moved = correlation[np.ix_(order, order)]

    def labels(matrix: Floats) -> Ints | str:
        try:
            found = spectral_clusters(matrix, 4, k, threshold=threshold, normalized=normalized, restarts=2)
        except ValueError as error:
            return str(error)
        tree = split_clusters(found, alpha=0.15)
        return np.stack([found.labels, tree.labels])

    before, after = labels(correlation), labels(moved)
    if isinstance(before, str):
        assert before == after
    else:
        np.testing.assert_array_equal(before[:, order], after)


def test_same_seed_same_answer_and_others_agree_where_clusters_are_clear() -> None:
    correlation, _ = planted(0)
    first = spectral_clusters(correlation, 30, 9, seed=5)
    again = spectral_clusters(correlation, 30, 9, seed=5)
    np.testing.assert_array_equal(first.restart_labels, again.restart_labels)
    other = spectral_clusters(correlation, 30, 9, seed=6)
    assert (first.restart_labels != other.restart_labels).any()
    assert stability([spectral_clusters(correlation, 30, 6, seed=s).labels for s in range(4)]) == 1


@pytest.mark.parametrize("normalized", [False, True])
def test_dead_and_isolated_units_keep_their_numbers_and_change_nothing(normalized: bool) -> None:
    correlation, _ = planted(2)
    live = np.delete(np.arange(74), [0, 17, 40, 73])
    with_others = np.full((74, 74), 0.19)  # 0 and 40 correlate with nobody above 0.2, 17 and 73 are dead
    with_others[np.ix_(live, live)] = correlation
    np.fill_diagonal(with_others, 1.0)
    for unit in (17, 73):
        with_others[unit, :] = with_others[:, unit] = np.nan
    alone = spectral_clusters(correlation, 34, 8, threshold=0.2, normalized=normalized)
    found = spectral_clusters(with_others, 36, 8, threshold=0.2, normalized=normalized)
    np.testing.assert_array_equal(found.isolated, [0, 17, 40, 73])
    np.testing.assert_array_equal(np.flatnonzero(found.labels == -1), found.isolated)
    np.testing.assert_array_equal(found.labels[live], alone.labels)
    # Not to the last bit: a processor adds more numbers in another order.
    np.testing.assert_allclose(found.eigenvalues, alone.eigenvalues, atol=1e-12)
    np.testing.assert_allclose(found.within_net_similarity, alone.within_net_similarity, rtol=1e-12)
    assert found.restart_stability == pytest.approx(alone.restart_stability, rel=1e-12)


@pytest.mark.parametrize("normalized", [False, True])
def test_a_graph_in_pieces(normalized: bool) -> None:
    correlation = islands(5, 3, 2, 2, 4)
    pieces = np.repeat(np.arange(5), [5, 3, 2, 2, 4])
    for k, of in ((5, None), (None, None), (None, (2, 9))):
        found = spectral_clusters(correlation, 7, k, normalized=normalized, k_range=of)
        assert found.k == 5
        assert adjusted_rand_score(pieces, found.labels) == 1
        np.testing.assert_array_equal(found.labels[[0, 12, 5, 8, 10]], [0, 1, 2, 3, 4])  # by falling size
    inside = spectral_clusters(correlation, 7, k_range=(6, 9), normalized=normalized)
    assert 6 <= inside.k <= 9
    for piece in range(5):  # more clusters never join pieces
        assert not np.isin(inside.labels[pieces == piece], inside.labels[pieces != piece]).any()
    with pytest.raises(ValueError, match=r"k must be from 5, the connected pieces of the graph, to 16, .*, got 4"):
        spectral_clusters(correlation, 7, 4)


def test_limits_of_k_and_threshold() -> None:
    correlation, _ = planted(0, units=30)
    every_unit = spectral_clusters(correlation, 15, 30)
    assert sorted(every_unit.labels) == list(range(30))
    assert not spectral_clusters(correlation, 15, 1).labels.any()
    for k in (0, -1, 31):
        with pytest.raises(ValueError, match=rf"k must be from 1, .* to 30, .* got {k}"):
            spectral_clusters(correlation, 15, k)
        with pytest.raises(ValueError, match=f"got {k}"):
            sweep_clusters(correlation, 15, [2, k])
    for k_or_none in (3, None):
        with pytest.raises(
            ValueError, match=r"no correlation between two of the 30 units is above the threshold 0\.99"
        ):
            spectral_clusters(correlation, 15, k_or_none, threshold=0.99)
    with pytest.raises(ValueError, match="no correlation"):
        spectral_clusters(np.full((4, 4), np.nan), 2, 1)
    with pytest.raises(ValueError, match="at least 1 restart"):
        spectral_clusters(correlation, 15, 3, restarts=0)


def test_layers_of_one_unit() -> None:
    correlation = np.array([[1.0, 0.5], [0.5, 1.0]])
    one = spectral_clusters(correlation, 1, 1)
    np.testing.assert_array_equal(one.labels, [0, 0])
    np.testing.assert_allclose(one.eigenvalues, [0, 1])
    np.testing.assert_array_equal(one.between_net_similarity, [0.5])
    two = spectral_clusters(correlation, 1, 2)
    np.testing.assert_array_equal(np.sort(two.labels), [0, 1])
    np.testing.assert_array_equal(two.between_net_similarity, [0, 0])
    np.testing.assert_array_equal(two.metrics.single_unit, [0, 1])
    assert [spectral_clusters(correlation, 1, k_range=of).k for of in (None, (1, 9), (2, 9))] == [2, 1, 2]
    with pytest.raises(ValueError, match="no correlation"):
        spectral_clusters(-correlation, 1)


def test_one_decomposition_serves_every_k() -> None:
    correlation, _ = planted(1, noise=1.5)
    swept = sweep_clusters(correlation, 30, [20, 2, 9], threshold=0.02, seed=3)
    for found, k in zip(swept, [20, 2, 9], strict=True):
        alone = spectral_clusters(correlation, 30, k, threshold=0.02, seed=3)
        np.testing.assert_array_equal(found.labels, alone.labels)
        np.testing.assert_array_equal(found.restart_labels, alone.restart_labels)
        np.testing.assert_array_equal(found.between_net_similarity, alone.between_net_similarity)
        assert found.spectrum is swept[0].spectrum
    assert [found.k for found in sweep_clusters(islands(3, 4, 2), 4)] == [3, 4, 5, 6, 7, 8, 9]
    assert sweep_clusters(islands(3, 4, 2), 4, k_range=(1, 2)) == []


@pytest.mark.parametrize("correlation", [planted(3)[0], islands(*[4] * 12), islands(*[3] * 20)])
@pytest.mark.parametrize("normalized", [False, True])
def test_iterative_solver_agrees_with_the_dense_one(
    correlation: Floats, normalized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = spectral_clusters(correlation, 20, 34, threshold=0.05, normalized=normalized)
    monkeypatch.setattr(spectral, "DENSE_UP_TO", 0)
    iterative = spectral_clusters(correlation, 20, 34, threshold=0.05, normalized=normalized)
    np.testing.assert_allclose(iterative.eigenvalues, dense.eigenvalues, atol=1e-10)
    np.testing.assert_array_equal(iterative.labels, dense.labels)


# The number of clusters


def test_the_default_k_is_the_papers_for_its_layers() -> None:
    units = {"conv1": 96, "conv2": 256, "conv3": 384, "conv4": 384, "conv5": 256}
    found = {layer: default_k(1, 2 * of_net) for layer, of_net in units.items()}
    assert found == {"conv1": 40, "conv2": 100, "conv3": 100, "conv4": 100, "conv5": 100}
    assert default_k(1, 144) == 30
    assert (default_k(1, 9), default_k(6, 9), default_k(9, 9), default_k(1, 2), default_k(120, 500)) == (
        2,
        6,
        9,
        2,
        120,
    )


@pytest.mark.parametrize("isolated", [0, 3])
def test_without_k_it_is_the_default_of_the_units_with_an_edge(isolated: int) -> None:
    correlation, _ = planted(5)
    correlation[:isolated] = correlation[:, :isolated] = np.nan
    found = spectral_clusters(correlation, 30)
    assert found.k == default_k(1, 70 - isolated) == round((70 - isolated) * 40 / 192)
    assert found.tried == {}


def test_modularity_is_newmans_double_sum() -> None:
    weights = similarity_graph(random_correlation(2, 14), 0.1)
    weights[3] = weights[:, 3] = 0
    labels = np.random.default_rng(0).integers(4, size=14)
    labels[3] = -1
    degree, total = weights.sum(axis=1), weights.sum()
    expected = sum(
        (weights[p, q] - degree[p] * degree[q] / total) / total
        for p, q in itertools.product(range(14), repeat=2)
        if labels[p] == labels[q]
    )
    assert modularity(weights, labels) == pytest.approx(expected)
    assert modularity(weights, np.where(labels < 0, -1, 0)) == pytest.approx(0)
    two = np.kron(np.eye(2), 1 - np.eye(3))
    assert modularity(two, np.repeat([0, 1], 3)) == pytest.approx(0.5)


def uneven(seed: int) -> tuple[Floats, Ints]:
    """Blocks of 3 to 40 units over a background that all units share, and the blocks."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(8), [40, 30, 20, 14, 10, 8, 5, 3]))
    samples = rng.standard_normal((3000, 8))[:, truth] + 0.6 * rng.standard_normal((3000, 1))
    return np.asarray(np.corrcoef((samples + 0.9 * rng.standard_normal(samples.shape)).T)), truth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_the_k_of_largest_modularity_finds_uneven_blocks_in_a_common_background(seed: int, threshold: float) -> None:
    correlation, truth = uneven(seed)
    found = spectral_clusters(correlation, 65, threshold=threshold, k_range=(2, 60))
    assert adjusted_rand_score(truth, found.labels) >= 0.85
    assert list(found.tried) == list(range(2, 61))
    assert found.tried[found.k] == max(found.tried.values())
    weights = similarity_graph(correlation, threshold)
    assert found.modularity == pytest.approx(modularity(weights, found.labels))
    assert found.modularity == pytest.approx(found.tried[found.k], abs=0.02)  # from fewer restarts of k-means


# k-means


def test_kmeans_finds_the_optimum_of_small_problems() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        points = rng.standard_normal((8, 2))

        def inertia(labels: tuple[int, ...], points: Floats = points) -> float:
            groups = [points[np.array(labels) == c] for c in range(3)]
            return sum(float(((g - g.mean(axis=0)) ** 2).sum()) if len(g) else np.inf for g in groups)

        best = min(map(inertia, itertools.product(range(3), repeat=8)))
        found = kmeans(points, 3, restarts=50, rng=rng)
        assert found.inertia.min() == pytest.approx(best)
        for labels, value in zip(found.labels, found.inertia, strict=True):
            assert inertia(tuple(labels)) == pytest.approx(value)


@pytest.mark.parametrize("k", [2, 15, 40])
def test_kmeans_stops_where_sklearn_does_and_no_worse(k: int) -> None:
    points = np.random.default_rng(k).standard_normal((150, 10))
    found = kmeans(points, k, restarts=10, rng=np.random.default_rng(0))
    for labels, inertia in zip(found.labels, found.inertia, strict=True):
        centres = np.stack([points[labels == c].mean(axis=0) for c in range(k)])
        further = SklearnKMeans(k, init=centres, n_init=1, tol=0).fit(points)
        np.testing.assert_array_equal(further.labels_, labels)
        assert further.inertia_ == pytest.approx(inertia)
    sklearn = SklearnKMeans(k, n_init=10, random_state=0).fit(points)
    assert found.inertia.min() < 1.03 * sklearn.inertia_


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), data=st.data())
def test_kmeans_uses_every_label_where_points_coincide(seed: int, n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    points = np.random.default_rng(seed).integers(2, size=(n, 2)).astype(float)
    found = kmeans(points, k, restarts=3, rng=np.random.default_rng(seed))
    for labels in found.labels:
        assert set(labels) == set(range(k))
    if k >= 4:
        np.testing.assert_allclose(found.inertia.min(), 0, atol=1e-12)


# Metrics (S.3.5)


def test_metrics_are_the_papers_sums() -> None:
    correlation = random_correlation(5, 12)
    labels = np.array([0, 1, 2, -1, 0, 1, 0, 0, 1, 3, 3, 2])
    found = cluster_metrics(correlation, 6, labels)
    source, target = range(6), range(6, 12)

    def mean(cluster: int, rows: range, columns: range) -> float:
        pairs = [(p, q) for p in rows for q in columns if labels[p] == labels[q] == cluster]
        return float(sum(correlation[p, q] for p, q in pairs)) / len(pairs)

    for c in range(3):
        assert found.between_net_similarity[c] == pytest.approx(mean(c, source, target))
        within = (mean(c, source, source) + mean(c, target, target)) / 2
        assert found.within_net_similarity[c] == pytest.approx(within)
    assert found.between_net_similarity[3] == 0
    assert found.within_net_similarity[3] == pytest.approx(mean(3, target, target))
    np.testing.assert_array_equal(found.units_per_net, [[2, 2], [2, 1], [1, 1], [0, 2]])
    np.testing.assert_array_equal(found.one_net, [3])
    np.testing.assert_array_equal(found.single_unit, [])
    assert found.units_two_net == 9
    assert (np.diff(found.between_net_similarity[found.order]) <= 0).all()


def test_metrics_of_no_cluster_and_of_identical_nets() -> None:
    nothing = cluster_metrics(np.full((4, 4), np.nan), 2, np.full(4, -1))
    assert nothing.between_net_similarity.shape == (0,)
    one = random_correlation(0, 8)
    found = cluster_metrics(np.tile(one, (2, 2)), 8, np.tile([0, 1, 1, 2, 2, 2, 0, 1], 2))
    np.testing.assert_allclose(found.between_net_similarity, found.within_net_similarity)


def test_stability_is_the_mean_adjusted_rand_index() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.integers(4, size=(3, 50))
    expected = (adjusted_rand_score(a, b) + adjusted_rand_score(a, c) + adjusted_rand_score(b, c)) / 3
    assert stability([a, b, c]) == pytest.approx(expected)
    assert abs(stability([a, b, c])) < 0.1
    assert stability([a, 3 - a]) == 1
    assert stability([a]) == 1
    holed = np.concatenate([[-1, -1], a])
    assert stability([holed, np.concatenate([[0, 1], 3 - a])]) == 1


# Hierarchy (S.3.4)


@pytest.mark.parametrize(("k", "alpha"), [(2, 0.025), (10, 0.05), (40, 0.025), (5, 0.3)])
def test_leaves_are_small_and_refine_their_parents(k: int, alpha: float) -> None:
    correlation, _ = planted(7, blocks=9, units=192, noise=1.5)
    correlation[5, :] = correlation[:, 5] = np.nan
    found = spectral_clusters(correlation, 96, k)
    tree = split_clusters(found, alpha=alpha)
    assert np.bincount(tree.labels[tree.labels >= 0]).max() <= alpha * 192
    assert set(tree.labels) == {-1, *range(len(tree.leaves))}
    np.testing.assert_array_equal(np.flatnonzero(tree.leaf == -1), [5])
    for cluster in range(k):
        np.testing.assert_array_equal(tree.members(cluster), np.flatnonzero(found.labels == cluster))
    for node in range(len(tree.parent)):
        children = np.flatnonzero(tree.parent == node)
        assert (children > node).all()
        if len(children):
            below = np.concatenate([tree.members(int(child)) for child in children])
            np.testing.assert_array_equal(np.sort(below), tree.members(node))
            assert len(children) == np.ceil(len(below) / (alpha * 192))
    np.testing.assert_array_equal(tree.labels, split_clusters(found, alpha=alpha).labels)


def test_small_clusters_stay_whole() -> None:
    correlation, _ = planted(0)
    found = spectral_clusters(correlation, 30, 6)
    tree = split_clusters(found, alpha=0.5)
    np.testing.assert_array_equal(tree.parent, [-1] * 6)
    np.testing.assert_array_equal(tree.labels, found.labels)


@pytest.mark.parametrize("normalized", [False, True])
def test_a_connected_piece_of_which_nothing_more_is_known_stays_whole(normalized: bool) -> None:
    found = spectral_clusters(islands(3, 4, 2), 4, 3, normalized=normalized)
    np.testing.assert_array_equal(split_clusters(found, alpha=1 / 9).labels, found.labels)
    finer = spectral_clusters(islands(3, 4, 2), 4, 5, normalized=normalized)
    assert len(split_clusters(finer, alpha=1 / 9).leaves) > 5


def test_alpha_must_allow_one_unit() -> None:
    found = spectral_clusters(planted(0, blocks=2, units=30)[0], 15, 2)
    for alpha in (0.025, 0.0, np.nan):
        with pytest.raises(ValueError, match="alpha must be 1/30 or more"):
            split_clusters(found, alpha=alpha)
