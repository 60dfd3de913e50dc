"""Figure 7: the matrix in the order of the tree, the colours of the networks, and the clusters enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba

from raycv.analysis.agglomeration import agglomerate
from raycv.drawing.portraits import Portraits
from raycv.drawing.undrawable import Undrawable
from raycv.stages.mapping.figures.agglomeration import SOURCE, TARGET, ZOOMED, agglomeration_tree, small_clusters

# Two target and two source units predict each other, a third pair does so alone; the last target unit is unpredicted.
WEIGHTS = np.zeros((4, 3))
WEIGHTS[0, 0], WEIGHTS[1, 0], WEIGHTS[1, 1] = 0.8, 0.3, 0.7
WEIGHTS[2, 2] = 0.5


def rows(weights: np.ndarray, reverse: np.ndarray | None = None) -> pd.DataFrame:
    """Rows of the table agglomerations, not in order."""
    merges = agglomerate(weights, reverse).merges
    columns = dict(zip(("cluster_a", "cluster_b", "weight", "size"), merges.T, strict=True))
    return pd.DataFrame({"merge": range(len(merges))} | columns).iloc[::-1]


def panels(axes: Any) -> tuple[np.ndarray, np.ndarray]:
    """The weights and the colours of the diagonal."""
    weights, colours = (np.asarray(image.get_array()) for image in axes.images)
    return weights, colours[np.arange(len(weights)), np.arange(len(weights))]


def test_the_matrix_stands_in_leaf_order_with_the_networks_on_its_diagonal() -> None:
    tree = agglomerate(WEIGHTS)
    figure = agglomeration_tree(rows(WEIGHTS), WEIGHTS, WEIGHTS.T, "conv1", "net1", "net2", 1e-3)
    above, below = figure.subfigs
    beside, axes = above.axes[0].child_axes[:2]
    order = tree.leaf_order
    whole = np.block([[np.eye(4), WEIGHTS], [WEIGHTS.T, np.eye(3)]])
    weights, diagonal = panels(axes)
    np.testing.assert_array_equal(weights, whole[np.ix_(order, order)])
    expected = [to_rgba(TARGET if leaf < 4 else SOURCE) for leaf in order]
    np.testing.assert_allclose(diagonal, expected)
    (lines,) = [child for child in beside.collections if isinstance(child, LineCollection)]
    drawn = sorted(round(float(np.asarray(path.vertices)[1, 0]), 6) for path in lines.get_paths())
    assert drawn == sorted(round(weight, 6) for weight in tree.merges[:, 2] if weight > 0)
    zoom = below.subfigs[0].axes[0]
    weights, diagonal = panels(zoom)
    members = small_clusters(tree, 4)[0]
    assert sorted(members) == [0, 1, 4, 5]
    np.testing.assert_array_equal(weights, whole[np.ix_(members, members)])
    names = [label.get_text() for label in zoom.get_yticklabels()]
    assert names == [f"net2 {leaf}" if leaf < 4 else f"net1 {leaf - 4}" for leaf in members]
    assert sorted(text.get_text() for text in zoom.texts) == [".30"] * 2 + [".70"] * 2 + [".80"] * 2


def test_the_mapping_layer_back_stands_in_the_other_corner() -> None:
    back = np.zeros((3, 4))
    back[2, 3] = 0.9
    figure = agglomeration_tree(rows(WEIGHTS, back), WEIGHTS, back, "conv1", "net1", "net2", 1e-3)
    weights, _ = panels(figure.subfigs[0].axes[0].child_axes[1])
    order = agglomerate(WEIGHTS, back).leaf_order
    np.testing.assert_array_equal(weights, np.block([[np.eye(4), WEIGHTS], [back, np.eye(3)]])[np.ix_(order, order)])


def test_pictures_stand_beside_an_enlarged_cluster() -> None:
    filters = {net: np.random.default_rng(0).random((4, 3, 2, 2)) for net in ("net1", "net2")}
    figure = agglomeration_tree(
        rows(WEIGHTS), WEIGHTS, WEIGHTS.T, "conv1", "net1", "net2", 1e-3, Portraits(filters=filters)
    )
    pictures = figure.subfigs[1].subfigs[1].axes
    drawn = [axes.get_title().replace("\n", " ") for axes in pictures if axes.images]
    zoom = figure.subfigs[1].subfigs[0].axes[0]
    assert drawn == [label.get_text() for label in zoom.get_yticklabels()]
    assert sorted(drawn) == ["net1 0", "net1 1", "net2 0", "net2 1"]


def test_a_tree_without_small_clusters_is_drawn_alone() -> None:
    figure = agglomeration_tree(rows(np.eye(3)), np.eye(3), np.eye(3), "conv1", "net1", "net2", 1e-3)
    assert len(figure.subfigs) == 1
    assert "There is no cluster" in figure.get_supxlabel()


@given(arrays(np.float64, (9, 8), elements=st.sampled_from([0.0, 0.0, 0.0, 0.2, 0.5, 0.9, -0.4])))
def test_small_clusters_are_apart_connected_and_of_both_networks(weights: np.ndarray) -> None:
    tree = agglomerate(weights)
    clusters = small_clusters(tree, 9)
    members = np.concatenate([np.empty(0, int), *clusters])
    assert len(np.unique(members)) == len(members)
    whole = np.block([[np.eye(9), weights], [weights.T, np.eye(8)]])
    nodes = {frozenset(np.flatnonzero(tree.cut(k) == tree.cut(k)[leaf])) for k in range(1, 18) for leaf in range(17)}
    for cluster in clusters:
        assert frozenset(cluster) in nodes
        assert ZOOMED[0] <= len(cluster) <= ZOOMED[1]
        assert 2 <= (cluster < 9).sum() <= len(cluster) - 2
        assert whole[np.ix_(cluster, cluster)].sum() > len(cluster)


def test_a_tree_of_another_size_is_refused() -> None:
    with pytest.raises(Undrawable, match="7 leaves"):
        agglomeration_tree(rows(WEIGHTS), WEIGHTS[:, :2], WEIGHTS[:, :2].T, "conv1", "net1", "net2", 1e-3)
