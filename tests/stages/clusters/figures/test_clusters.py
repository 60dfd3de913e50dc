"""Cluster figures: what is drawn must be what the tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.figures.activity import mean_activations
from raycv.stages.clusters.figures.clusters import (
    cluster_tree,
    modularity_curves,
    permuted_correlations,
    similarity_curves,
)

NODES = pd.DataFrame(
    {
        "layer": "conv1",
        "k": 2,
        "cluster": [0, 1, 2, 3],
        "parent": [-1, -1, 0, 0],
        "is_leaf": [False, True, True, True],
        "units_a": [2, 1, 2, 0],
        "units_b": [2, 0, 1, 1],
        "between_net_similarity": [0.4, 0.0, 0.7, 0.0],
        "within_net_similarity": [0.6, 1.0, 0.8, 1.0],
    }
)
MEMBERS = pd.DataFrame(
    {
        "layer": "conv1",
        "k": 2,
        "cluster": [0, 1, 0, 0, 0, -1],
        "leaf": [2, 1, 2, 3, 2, -1],
        "net": ["net1"] * 3 + ["net2"] * 3,
        "unit": [0, 1, 2, 0, 1, 2],
    }
)


def pairs(matrix: np.ndarray) -> pd.DataFrame:
    """Rows of the table correlations of a combined (6, 6) matrix of two networks of three units."""
    names = ("net1", "net2")
    return pd.DataFrame(
        {"net_a": names[a], "net_b": names[b], "unit_a": i, "unit_b": j, "value": matrix[3 * a + i, 3 * b + j]}
        for a, b in ((0, 0), (0, 1), (1, 1))
        for i in range(3)
        for j in range(3)
    )


def test_the_matrix_is_permuted_cluster_by_cluster_with_isolated_units_last() -> None:
    matrix = np.random.default_rng(0).uniform(-1, 1, (6, 6))
    matrix = (matrix + matrix.T) / 2
    axes = permuted_correlations({"conv1": pairs(matrix)}, MEMBERS, "net1", "net2").axes[0]
    order = [0, 2, 4, 3, 1, 5]  # leaf 2 and leaf 3 of cluster 0, cluster 1, the isolated unit
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), matrix[np.ix_(order, order)])
    (block,) = axes.patches
    assert isinstance(block, Rectangle)
    assert (block.get_x(), block.get_width()) == (-0.5, 3)


def test_the_tree_names_the_units_of_each_network() -> None:
    (axes,) = cluster_tree(NODES, MEMBERS, "conv1", "net1", "net2").axes
    texts = [text.get_text() for text in axes.texts]
    assert "net1: 0, 2" in texts
    assert "0\n2 + 2, 0.40" in texts
    assert not any(text.startswith("1\n") for text in texts)


def test_a_part_of_one_network_has_no_similarity_between_networks() -> None:
    (axes,) = cluster_tree(NODES, MEMBERS, "conv1", "net1", "net2").axes
    texts = [text.get_text() for text in axes.texts]
    assert "3\n0 + 1" in texts
    assert not any(text.endswith(": ") for text in texts)


def caption(figure: Figure) -> str:
    return str(figure.get_supxlabel()).replace("\n", " ")


def test_curves_show_the_final_clusters_of_several_units_by_falling_similarity() -> None:
    """Those of one network are last, even after one that is alike by less than 0; of a unit each nothing is within."""
    about = {"cluster": [4, 5], "units_a": [3, 1], "units_b": [0, 1], "within_net_similarity": [0.5, 1.0]}
    more = pd.DataFrame(about | {"between_net_similarity": [0.0, -0.1]}).assign(
        layer="conv1", k=2, parent=-1, is_leaf=True
    )
    nodes = pd.concat([NODES, more])
    figure = similarity_curves(nodes, ["conv1"], "net1", "net2")
    (axes,) = figure.axes
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    np.testing.assert_array_equal(drawn["between nets"], [0.7, -0.1, np.nan])
    np.testing.assert_array_equal(drawn["within net"], [0.8, np.nan, 0.5])
    assert "Not drawn: clusters of one unit (conv1 2 of 5)." in caption(figure)
    assert "no similarity between networks and stand last: conv1 1 of 3." in caption(figure)


@pytest.mark.parametrize(
    ("mixed", "said"), [(0.2, "In all layers it is above chance."), (0.35, "Not above chance: conv1.")]
)
def test_the_caption_says_where_modularity_is_not_above_chance(mixed: float, said: str) -> None:
    values = pd.DataFrame({"layer": "conv1", "number": [2, 3], "modularity": [0.3, 0.4]})
    rows = pd.DataFrame({"layer": "conv1", "k": [2, 3], "chosen": [False, True], "is_default": [True, False]})
    rows["mixed_modularity"] = [mixed, np.nan]
    assert caption(modularity_curves(values, rows, ["conv1"], "net1", "net2")).endswith(f"(chance). {said}")


def test_modularity_is_drawn_where_it_was_tried_and_two_k_are_marked() -> None:
    values = pd.DataFrame({"layer": "conv1", "number": [1, 2, 3, 4], "modularity": [np.nan, 0.3, 0.4, np.nan]})
    rows = pd.DataFrame({"layer": "conv1", "k": [2, 3], "chosen": [False, True], "is_default": [True, False]})
    rows["mixed_modularity"] = [0.2, np.nan]
    axes = modularity_curves(values, rows, ["conv1"], "net1", "net2").axes[0]
    curve, cross, default, chosen = (np.asarray(line.get_xdata()).tolist() for line in axes.lines)
    assert (cross, np.asarray(axes.lines[1].get_ydata()).tolist()) == ([2], [0.2])
    assert (curve, default, chosen) == ([2, 3], [2, 2], [3, 3])
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [0.3, 0.4]


def test_captions_count_clusters_of_one_network_and_of_one_unit() -> None:
    alone = "Clusters of one network only (of these, of one unit): conv1 2 (2) of 3."
    assert alone in caption(permuted_correlations({"conv1": pairs(np.eye(6))}, MEMBERS, "net1", "net2"))


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(Undrawable, match="There are no clusters to draw"):
        similarity_curves(NODES.iloc[:0], ["conv1"], "net1", "net2")


def test_activity_falls_and_leaves_out_silent_units_and_logits() -> None:
    units = pd.DataFrame({"layer": ["conv1"] * 3 + ["fc8"] * 2, "net": "net1", "mean": [0.5, 0.0, 2.0, -1.0, 1.0]})
    (axes,) = mean_activations(units).axes
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [2.0, 0.5]
