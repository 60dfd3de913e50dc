"""The figures of clusters in a run: figure 14 needs pictures of the units that it shows, and reads no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from raycv.drawing.subject import Subject
from raycv.stages.clusters.figures.plan import plan
from tests.support.clusters import MEMBERS, NODES
from tests.support.pictures import patch_tables
from tests.support.subjects import subject_of

PAIR: dict[str, Any] = {"net_a": "net1", "net_b": "net2", "threshold": 0.2}
LAYERS, NETS = ["conv1", "conv2"], ["net1", "net2"]


def run(folder: Path, *, pictures: bool = True) -> Subject:
    """A run whose second layer has one clustering."""
    every = [(net, unit) for net in NETS for unit in range(14)]
    boxes, shown = patch_tables(every, "conv2", size=33)
    clusterings = pd.DataFrame(
        [PAIR | {"layer": "conv2", "k": 4, "chosen": True, "is_default": True, "mixed_modularity": 0.1}]
    )
    frames = {
        "clusterings": clusterings,
        "clusters": NODES.assign(**PAIR),
        "cluster_members": MEMBERS.assign(k=4, **PAIR),
        "eigenvalues": pd.DataFrame([PAIR | {"layer": "conv2", "number": 1, "eigenvalue": 0.0, "modularity": 0.5}]),
        "top_patches": boxes,
    }
    units = pd.DataFrame([("conv2", net, unit, 1.0) for net, unit in every], columns=["layer", "net", "unit", "mean"])
    return subject_of(
        folder, frames | ({"patch_pictures": shown} if pictures else {}), layers=LAYERS, nets=NETS, units=units
    )


def test_figure_14_is_planned_where_there_are_pictures(tmp_path: Path) -> None:
    of_clusters = {"figure-12-clusters", "figure-15-tree", "figure-16-similarity", "modularity"}
    assert set(plan(run(tmp_path / "with"))) == of_clusters | {"figure-14-clusters-conv2"}
    assert set(plan(run(tmp_path / "without", pictures=False))) == of_clusters


def test_figure_14_shows_the_units_of_final_clusters_of_both_networks(tmp_path: Path) -> None:
    figure = plan(run(tmp_path))["figure-14-clusters-conv2"]()
    both = NODES[NODES["is_leaf"] & (NODES["units_a"] > 0) & (NODES["units_b"] > 0)]
    assert len(figure.axes[0].images) == both[["units_a", "units_b"]].clip(upper=5).to_numpy().sum()


def test_a_run_without_clusters_has_none_of_these_figures(tmp_path: Path) -> None:
    units = pd.DataFrame({"layer": ["conv1"], "net": ["net1"], "unit": [0], "mean": [1.0]})
    assert plan(subject_of(tmp_path, {}, layers=LAYERS, nets=NETS, units=units)) == {}
