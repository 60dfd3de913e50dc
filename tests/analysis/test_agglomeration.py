"""Agglomeration: brute force, scipy, theorems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from raycv.analysis.agglomeration import Agglomeration, agglomerate
from tests.support.activations import PUBLISHED

Floats = NDArray[np.float64]


def matrix_b(weights: Floats, reverse: Floats | None = None) -> Floats:
    """B = [I, W; Wᵀ, I], or with the other mapping layer in the lower corner."""
    rows, columns = weights.shape
    return np.block([[np.eye(rows), weights], [weights.T if reverse is None else reverse, np.eye(columns)]])


def brute_force(b: Floats) -> Floats:
    """The paper's words: over and over, merge the pair with the largest average unit-to-unit weight."""
    clusters = {leaf: [leaf] for leaf in range(len(b))}
    merges = []
    for step in range(len(b) - 1):
        pairs = []
        for p, one in clusters.items():
            for q, other in clusters.items():
                if min(one) < min(other):
                    average = (b[np.ix_(one, other)].mean() + b[np.ix_(other, one)].mean()) / 2
                    pairs.append((-average, min(one), min(other), p, q))
        average, _, _, p, q = min(pairs)
        clusters[len(b) + step] = clusters.pop(p) + clusters.pop(q)
        merges.append([min(p, q), max(p, q), -average, len(clusters[len(b) + step])])
    return np.array(merges)


def sparse(seed: int, rows: int, columns: int) -> Floats:
    """Weights like a sparse mapping layer's: mostly zeros, some negative, multiples of 1/64 so that sums are exact."""
    rng = np.random.default_rng(seed)
    return np.round(rng.standard_normal((rows, columns)) * 64) / 64 * (rng.random((rows, columns)) < 0.15)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (12, 12), (9, 15), (15, 4)])
@pytest.mark.parametrize("seed", range(5))
def test_merges_are_brute_force_ties_included(seed: int, rows: int, columns: int) -> None:
    weights = sparse(seed, rows, columns)
    np.testing.assert_allclose(agglomerate(weights).merges, brute_force(matrix_b(weights)), atol=1e-15)


@given(arrays(np.float64, (5, 6), elements=st.sampled_from([0.0, 0.0, 0.0, -0.5, 0.25, 0.5])))
def test_tied_weights_are_merged_as_brute_force_merges_them(weights: Floats) -> None:
    np.testing.assert_allclose(agglomerate(weights).merges, brute_force(matrix_b(weights)), atol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_both_directions_count_in_the_variant(seed: int) -> None:
    forth, back = sparse(seed, 10, 8), sparse(seed + 100, 8, 10)
    np.testing.assert_allclose(agglomerate(forth, back).merges, brute_force(matrix_b(forth, back)), atol=1e-15)
    np.testing.assert_array_equal(agglomerate(forth, forth.T).merges, agglomerate(forth).merges)


@pytest.mark.parametrize("seed", range(3))
def test_without_ties_scipy_makes_the_same_tree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((50, 70))
    ours = agglomerate(weights).merges
    theirs = linkage(squareform(10 - matrix_b(weights), checks=False), "average")
    # Within a net all weights are 0 and tie, so only the merges before the first average of 0 are unique.
    unique = int((ours[:, 2] > 1e-12).sum())
    assert unique > 45
    np.testing.assert_array_equal(ours[:unique, [0, 1, 3]], theirs[:unique, [0, 1, 3]])
    np.testing.assert_allclose(ours[:unique, 2], 10 - theirs[:unique, 2], atol=1e-12)


def test_numbering_of_units_does_not_matter_without_ties() -> None:
    rng = np.random.default_rng(0)
    weights = np.exp(rng.standard_normal((20, 20)))  # positive: no average ties with another
    rows, columns = rng.permutation(20), rng.permutation(20)
    new_number = np.concatenate([np.argsort(rows), 20 + np.argsort(columns)])
    ours, permuted = agglomerate(weights), agglomerate(weights[np.ix_(rows, columns)])
    np.testing.assert_allclose(ours.merges[:, 2], permuted.merges[:, 2], atol=1e-12)
    for k in (39, 30, 17, 5, 2):
        labels, same = ours.cut(k), permuted.cut(k)[new_number]
        assert len(set(zip(labels.tolist(), same.tolist(), strict=True))) == k


@pytest.mark.parametrize("seed", range(3))
def test_cuts_follow_the_merges_and_leaf_order_is_scipys(seed: int) -> None:
    tree = agglomerate(sparse(seed, 20, 25))
    distances = tree.merges.copy()
    distances[:, 2] = tree.merges[0, 2] - tree.merges[:, 2]
    np.testing.assert_array_equal(tree.leaf_order, leaves_list(distances))
    clusters = [{leaf} for leaf in range(45)]
    for k in range(45, 0, -1):
        labels = tree.cut(k)
        found = {frozenset(np.flatnonzero(labels == label).tolist()) for label in range(k)}
        assert found == {frozenset(cluster) for cluster in clusters if cluster}
        assert labels[0] == 0
        if k > 1:
            one, other = tree.merges[45 - k, :2].astype(int)
            clusters.append(clusters[one] | clusters[other])
            clusters[one] = clusters[other] = set()


@pytest.mark.parametrize("decay", ["1e-2.6", "1e-3"])
def test_published_conv1_is_merged_as_scipy_merges_it(decay: str) -> None:
    weights = np.load(PUBLISHED / f"mapping_conv1_decay{decay}.npy").astype(np.float64)
    ours = agglomerate(weights)
    theirs = linkage(squareform(10 - matrix_b(weights), checks=False), "average")
    unique = int((ours.merges[:, 2] > 1e-6).sum())
    np.testing.assert_array_equal(ours.merges[:unique, [0, 1, 3]], theirs[:unique, [0, 1, 3]])
    assert unique > 150
    # "Most parents of leaf clusters contain one unit from Net1 and one from Net2": only the paper's nets are linked.
    of_leaves = ours.merges[(ours.merges[:, :2] < 192).all(1)][:, :2]
    assert ((of_leaves < 96).sum(1) == 1).mean() > 0.9


def test_planted_subspaces_are_the_clusters() -> None:
    rng = np.random.default_rng(3)
    truth_rows, truth_columns = rng.integers(5, size=20), rng.integers(5, size=20)
    weights = 0.5 * (truth_rows[:, None] == truth_columns) + 0.01 * rng.random((20, 20))
    labels = agglomerate(weights).cut(5)
    assert len(set(zip(labels.tolist(), np.concatenate([truth_rows, truth_columns]).tolist(), strict=True))) == 5


def test_conv1_takes_191_merges() -> None:
    tree = agglomerate(sparse(0, 96, 96))
    assert len(tree.merges) == 191  # footnote 10
    assert tree.merges[-1, 3] == 192
    assert (np.diff(tree.merges[:, 2]) <= 1e-12).all()


def test_malformed_input_is_named() -> None:
    good = np.ones((2, 3))
    for bad in (np.ones(3), np.empty((0, 3)), np.array([[np.nan, 1.0]])):
        with pytest.raises(ValueError, match="matrix of finite numbers"):
            agglomerate(bad)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), as weights transposed, found \(2, 3\)"):
        agglomerate(good, good)
    tree: Agglomeration = agglomerate(good)
    for k in (0, 6):
        with pytest.raises(ValueError, match="1 to 5 clusters"):
            tree.cut(k)
