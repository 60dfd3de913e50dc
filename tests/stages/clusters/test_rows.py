"""Clusters beside those of mixed units, from statistics written here and without a cluster of machines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raycv import statistics
from raycv.analysis.graphs import combined_correlation
from raycv.analysis.spectral import spectral_clusters
from raycv.run.store import RunStore
from raycv.stages.clusters.rows import Clustering, LayerCorrelations, clusterings_of_pair
from raycv.statistics.folds import correlations
from tests.support.runs import WIDTHS, make_run


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> LayerCorrelations:
    found = statistics.read(RunStore(str(make_run(tmp_path_factory.mktemp("rows") / "run", ("conv1",)))))
    of_layer = found.layer("conv1")
    return LayerCorrelations(correlations(of_layer.all, of_layer.left_out()), found.mixed("conv1"))


def rows(
    layer: LayerCorrelations, *, k: int | None = None, more: tuple[int, ...] = (5, 9), threshold: float = 0.2
) -> pd.DataFrame:
    return clusterings_of_pair(layer, Clustering("conv1", 0, 1, ("net1", "net2"), threshold, k, more))["clusterings"]


def test_mixed_units_are_clustered_in_place_of_each_networks_own(layer: LayerCorrelations) -> None:
    found = rows(layer)
    (default,) = found[found["is_default"]].to_dict("records")
    assert found.loc[~found["is_default"], ["mixed_modularity", "mixed_units_two_net"]].isna().all(axis=None)
    expected = []
    for kept, replaced in ((0, 1), (1, 0)):
        mixed = layer.mixed[replaced]
        matrix = combined_correlation(layer.correlations[kept, kept], mixed.units[kept], mixed.own)
        expected.append(spectral_clusters(matrix, WIDTHS[kept], default["k"], threshold=0.2))
    assert default["mixed_modularity"] == pytest.approx(np.mean([one.modularity for one in expected]))
    assert default["mixed_units_two_net"] == np.mean([one.metrics.units_two_net for one in expected])


def test_units_of_common_causes_are_in_better_clusters_than_mixtures(layer: LayerCorrelations) -> None:
    """Every unit follows one of four causes; a mixture follows all of them."""
    (row,) = rows(layer, k=4, more=()).query("is_default").to_dict("records")
    assert row["mixed_modularity"] < row["modularity"] - 0.05


def test_without_a_relu_units_are_rotated(layer: LayerCorrelations) -> None:
    (row,) = rows(LayerCorrelations(layer.correlations, {}), k=4, more=()).query("is_default").to_dict("records")
    assert row["mixed_modularity"] < row["modularity"] - 0.05
    assert row["mixed_units_two_net"] > 0  # at least the rotated unit of largest correlation has a positive one


def test_there_is_no_null_where_the_graph_of_mixtures_does_not_allow_the_k(layer: LayerCorrelations) -> None:
    units = sum(WIDTHS[:2]) - 2  # one is dead, one rare: a cluster for each that has an edge
    (row,) = rows(layer, k=units, more=(), threshold=0.45).query("is_default").to_dict("records")
    found = rows(layer, k=int(row["highest_k"]), more=(), threshold=0.45).query("is_default")
    assert found[["mixed_modularity", "mixed_units_two_net"]].isna().all(axis=None)
    assert found["modularity"].notna().all()
