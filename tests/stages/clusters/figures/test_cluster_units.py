"""The most similar clusters: which are shown, in which order, the units of both networks apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.clusters.figures.cluster_units import cluster_filters, cluster_patches, similar_clusters, units_of
from tests.support.clusters import MEMBERS, NODES
from tests.support.pictures import patch_tables, shown

EVERY = [(net, unit) for net in ("net1", "net2") for unit in range(14)]


def test_the_most_similar_final_clusters_of_both_networks_come_first() -> None:
    assert similar_clusters(NODES, "conv2", 8)["cluster"].tolist() == [4, 2, 5, 0]
    assert similar_clusters(NODES, "conv2", 2)["cluster"].tolist() == [4, 2]
    assert similar_clusters(NODES, "conv1", 8).empty


def test_at_most_five_units_of_each_network_are_shown() -> None:
    units = units_of(similar_clusters(NODES, "conv2", 8), MEMBERS)
    found = {key: rows["unit"].tolist() for key, rows in units.groupby(["cluster", "net"])}
    assert found[2, "net1"] == [5, 6, 7, 8, 9]
    assert found[0, "net2"] == [1, 2, 3]
    assert 13 not in set(units["unit"])
    assert set(units["layer"]) == {"conv2"}


def test_a_row_has_as_many_clusters_as_fit_with_white_space_between_the_networks() -> None:
    figure = cluster_patches(*patch_tables(EVERY, "conv2"), NODES, MEMBERS, "conv2", "net1", "net2")
    found = shown(figure)
    tops = sorted({top for top, *_ in found})
    rows = [[(net, unit) for top, _, net, unit in found if top == row] for row in tops]
    first = [(1, 1), (2, 0), (1, 5), (1, 6), (1, 7), (1, 8), (1, 9), (2, 5)]  # clusters 4 and 2
    second = [(1, 2), (1, 3), (2, 4), (1, 0), (1, 4), (2, 1), (2, 2), (2, 3)]  # clusters 5 and 0
    assert rows == [first, second]
    lefts = [left for top, left, _, _ in found if top == tops[0]]
    steps = np.diff(lefts)
    within = steps[2]
    assert steps[0] == pytest.approx(1.5 * within, rel=0.01)
    assert steps[-1] == pytest.approx(1.5 * within, rel=0.01)
    headings = [text.get_text() for text in figure.axes[0].texts if ": " in text.get_text()]
    assert headings == ["4: 0.80", "2: 0.50, 7 + 1", "5: 0.40", "0: 0.30"]  # numbered as in the table
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "the 4 clusters of highest between-net similarity, 0.80 to 0.30" in caption
    assert "not drawn: 2 units" in caption
    assert "one network only (of these, of one unit): conv2 1 (1) of 5." in caption


def test_filters_are_those_of_the_clusters_units() -> None:
    kernels = {net: np.random.default_rng(n).standard_normal((14, 3, 5, 5)) for n, net in enumerate(("net1", "net2"))}
    figure = cluster_filters(kernels, NODES, MEMBERS, "conv2", "net1", "net2")
    images = sorted(figure.axes[0].images, key=lambda image: (image.get_extent()[3], image.get_extent()[0]))
    for image, (net, unit) in zip(images[:3], [("net1", 1), ("net2", 0), ("net1", 5)], strict=True):
        kernel = kernels[net][unit].transpose(1, 2, 0)
        np.testing.assert_allclose(np.asarray(image.get_array()), (kernel - kernel.min()) / np.ptp(kernel), atol=1e-6)


def test_no_cluster_of_both_networks_is_said() -> None:
    alone = NODES[NODES["cluster"] == 3]
    with pytest.raises(Undrawable, match="No cluster has units of both net1 and net2"):
        cluster_patches(*patch_tables(EVERY, "conv2"), alone, MEMBERS, "conv2", "net1", "net2")


def test_narrow_clusters_fill_a_row() -> None:
    """Twelve of two units each, in rows of four, whose units end near the right edge."""
    nodes = pd.DataFrame({"cluster": range(8), "units_a": 1, "units_b": 1, "between_net_similarity": 0.5})
    nodes = nodes.assign(layer="conv2", is_leaf=True, k=8)
    both = [("conv2", unit, net, unit) for unit in range(8) for net in ("net1", "net2")]
    members = pd.DataFrame(both, columns=["layer", "leaf", "net", "unit"])
    figure = cluster_patches(*patch_tables(EVERY, "conv2"), nodes, members, "conv2", "net1", "net2")
    tops = [top for top, *_ in shown(figure)]
    assert sorted(tops.count(top) for top in set(tops)) == [8, 8]
    axes = figure.axes[0]
    assert max(image.get_extent()[1] for image in axes.images) > 0.9 * axes.get_xlim()[1]
