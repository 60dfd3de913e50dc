"""Orders of groups: copies are found again, and small cases are the best of all orders."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from raycv.analysis.group_matching import match_groups, similarity_evidence, weight_evidence
from raycv.networks.unit_graph.tracing import unit_groups
from tests.support.architectures import architecture, images_for, loaded, weights_of


@pytest.mark.parametrize(
    "name", ["vgg", "vit", "densenet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet", "resnext"))]
)
def test_a_permuted_copy_is_found_again_by_its_weights(name: str) -> None:
    net, images = architecture(name), images_for(name)
    groups, weights = unit_groups(net, images), weights_of(net)
    copy = groups.permuted(weights, groups.drawn(5))
    # Several groups depend on one another, and a descent may end before the best: the best of three starts.
    found = (match_groups(groups, weight_evidence(groups, weights, copy), seed=seed) for seed in range(3))
    back = [groups.permuted(copy, orders) for orders in found]
    apart = [max(float(np.abs(one[key] - weights[key]).max()) for key in weights) for one in back]
    with torch.inference_mode():
        logits, again = net(images), loaded(net, back[int(np.argmin(apart))])(images)
    assert min(apart) < 1e-12
    torch.testing.assert_close(again, logits, rtol=1e-9, atol=1e-9)


def test_one_hidden_layer_gets_the_best_of_all_orders() -> None:
    torch.manual_seed(0)
    a, b = (nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double() for _ in range(2))
    groups = unit_groups(a, torch.zeros(2, 3, dtype=torch.float64))
    first, second = weights_of(a), weights_of(b)

    def together(order: np.ndarray) -> float:
        rows = (second["0.weight"][order] * first["0.weight"]).sum() + (second["0.bias"][order] * first["0.bias"]).sum()
        return float(rows + (second["2.weight"][:, order] * first["2.weight"]).sum())

    (order,) = match_groups(groups, weight_evidence(groups, first, second)).values()
    best = max(permutations(range(5)), key=lambda one: together(np.array(one)))
    np.testing.assert_array_equal(order, best)


def test_similarities_of_several_layers_of_a_group_add_up_and_undefined_ones_count_as_none() -> None:
    net = architecture("vit")
    groups = unit_groups(net, images_for("vit"))
    rng = np.random.default_rng(0)
    layers = ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"]
    similarities = [rng.standard_normal((16, 16)) for _ in layers]
    similarities[0][3] = np.nan
    evidence = [one for pair in zip(layers, similarities, strict=True) for one in similarity_evidence(groups, *pair)]
    orders = match_groups(groups, evidence)
    (stream,) = {group for one in evidence for group in one.block.groups}
    total = np.nan_to_num(similarities[0]) + similarities[1]
    gained = total[np.arange(16), orders[stream or 0]].sum()
    for _ in range(300):
        assert gained >= total[np.arange(16), rng.permutation(16)].sum()
    unchanged = [orders[n] for n in orders if n != stream]
    assert all((one == np.arange(one.shape[-1])).all() for one in unchanged)


def test_heads_are_matched_whole_and_their_dimensions_within() -> None:
    net = architecture("vit")
    groups, weights = unit_groups(net, images_for("vit")), weights_of(net)
    orders = groups.drawn(1)
    structured = {n: o for n, o in orders.items() if groups.groups[n].size == 4}
    copy = groups.permuted(weights, structured)
    found = match_groups(groups, weight_evidence(groups, weights, copy))
    back = groups.permuted(copy, found)
    for name in weights:
        np.testing.assert_array_equal(back[name], weights[name])
