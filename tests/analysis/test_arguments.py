"""Arrays that do not fit each other are refused: NumPy alone would broadcast them, or take a part of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raycv import analysis
from raycv.analysis import Rotated, kmeans, slopes, transport
from raycv.networks.unit_graph.tracing import unit_groups
from tests.support.architectures import weights_of


def network(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


GROUPS = unit_groups(network(3), torch.zeros(2, 4))
WEIGHTS, WIDER = (weights_of(network(width)) for width in (3, 5))
ORDERS = {0: np.array([1, 0, 2])}
LABELS = np.array([0, 0, 1, 1, 1])
EYE, WIDE = np.eye(5), np.eye(5)[:3]
ONE_UNIT = Rotated(np.full((4, 1), 0.3))
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "matchings of different rows": (
        lambda: analysis.agreement(analysis.semi_matching(EYE), analysis.semi_matching(EYE[:1])),
        "the matchings are of 5 and 1 rows",
    ),
    "replicates in a matrix": (lambda: analysis.jackknife(0.5, EYE), "one number for each group"),
    "one deviation for many units": (lambda: analysis.scaled(EYE, np.ones(1)), "1 deviations do not fit"),
    "excess over the null of another layer": (lambda: analysis.excess(EYE, ONE_UNIT), "of 1 units and there are 5"),
    "a share by the null of another layer": (
        lambda: analysis.one_unit_share(EYE, EYE, ONE_UNIT),
        "of 1 units and there are 5",
    ),
    "the best of a list": (lambda: analysis.best_correlation([0.5, 0.2]), "two axes"),
    "the dimension of what is not square": (lambda: analysis.effective_dimension(WIDE), "is square"),
    "correlations as p-values": (lambda: analysis.q_values([0.1, -0.5]), "from 0 to 1, found -0.5 to 0.1"),
    "fewer labels than units": (lambda: analysis.modularity(EYE, LABELS[:3]), "do not fit a matrix"),
    "more labels than units": (lambda: analysis.cluster_metrics(EYE, 2, np.append(LABELS, 0)), "do not fit a matrix"),
    "sources that are not square": (lambda: analysis.rotated_sources(WIDE, WIDE, seed=0), "source must be"),
    "the cross correlation turned round": (lambda: analysis.linear_r2(EYE, WIDE), "source must be"),
    "the redundancy of what is not square": (lambda: analysis.redundancy_order(WIDE), "are square"),
    "two images to choose a penalty on": (
        lambda: analysis.chosen_penalty(torch.eye(2), torch.arange(2), 2),
        "a fifth of the images is needed",
    ),
    "values without replicates": (
        lambda: analysis.stratified_jackknife([1.0, 2.0], [[1.0, 1.1, 0.9]], np.mean),
        "2 values and replicates of 1",
    ),
    "slopes of fewer values": (lambda: slopes.slopes(EYE, np.ones(3)), r"found \(5, 5\) and \(3,\)"),
    "points in a row": (
        lambda: kmeans.kmeans(np.ones(4), 2, restarts=1, rng=np.random.default_rng(0)),
        "points have two axes",
    ),
    "a plan for what is undefined": (lambda: analysis.uniform_plan(np.full((2, 3), np.nan)), "finite numbers"),
    "a plan for nothing": (lambda: analysis.partial_plan(np.empty((0, 0)), 0.5), "finite numbers"),
    "masses that do not add up": (lambda: transport.transport(EYE, np.ones(5), np.ones(5) / 2), "the same total"),
    "similarities of another layer": (lambda: analysis.similarity_evidence(GROUPS, "1", EYE), "1 has 3 units"),
    "weights of another network": (lambda: analysis.weight_evidence(GROUPS, WEIGHTS, WIDER), "has shape"),
    "networks of two widths": (lambda: analysis.interpolated([WEIGHTS, WIDER], [0.5, 0.5]), "has other shapes"),
    "weights that are too few": (lambda: GROUPS.permuted({**WEIGHTS, "0.weight": EYE[:1]}, ORDERS), "too small"),
    "values of another layer": (
        lambda: analysis.zipped_mean(GROUPS, "1", [np.ones(4), np.ones(4)], {}),
        "1 has 3 units",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(what: str) -> None:
    function, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        function()
