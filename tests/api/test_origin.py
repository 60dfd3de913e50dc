"""`raycv.compare` says where networks seem to share their first weights, and only there."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import raycv

SHARED = "seem to share their first weights"


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 36, 24), nn.ReLU())


def images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(100, 3, 8, 8, generator=generator) for _ in range(4)]


def fine_tuned(net: nn.Sequential, labels: torch.Tensor) -> nn.Sequential:
    """A copy, trained on for a while with a head of its own."""
    twin = copy.deepcopy(net)
    head = nn.Linear(24, 10)
    optimizer = torch.optim.SGD([*twin.parameters(), *head.parameters()], lr=0.05)
    for _ in range(20):
        for batch, of_batch in zip(images(), torch.chunk(labels, 4), strict=True):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(head(twin(batch)), of_batch))
            optimizer.step()
    return twin


def test_fine_tuned_twins_are_seen_and_the_independent_network_beside_them_is_not() -> None:
    first = network(0)
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 10, 400))
    nets = {"first": first, "twin": fine_tuned(first, labels), "other": network(1)}
    found = raycv.compare(nets, images(), layers=["1", "4"])
    assert f"\nfirst and twin {SHARED}: in " in repr(found)
    weights = found.weight_correlations
    assert weights[frozenset(("first", "twin"))] > 0.9
    assert abs(weights[frozenset(("first", "other"))]) < 0.15
    table = found.alignment(["same_index", "same_index_chance", "same_index_p_value"])
    twins = table["net_a"].isin(["first", "twin"]) & table["net_b"].isin(["first", "twin"])
    assert (table.loc[twins, "same_index"] > 0.5).all()
    assert (table.loc[~twins, "same_index_p_value"] > 1e-4).all()
    assert table.loc[table["layer"] == "1", "same_index_chance"].to_numpy() == pytest.approx(1 / 12)


def test_snapshots_of_one_network_are_all_said_to_share_their_weights() -> None:
    generator = np.random.default_rng(0)
    states = np.cumsum(generator.standard_normal((3, 500, 30)), axis=0)
    found = raycv.compare({f"epoch {n}": {"fc": state} for n, state in enumerate(states)})
    assert found.shared_origin.startswith(f"These networks {SHARED}: in fc, 100% of units")


def test_independent_networks_and_layers_of_few_units_are_not() -> None:
    found = raycv.compare({"a": network(0), "b": network(1)}, images(), layers=["1", "4"])
    assert found.shared_origin == ""
    assert SHARED not in repr(found)
    rows = np.random.default_rng(0).standard_normal((100, 9))
    for units in (1, 2, 9):
        same = raycv.compare({"a": rows[:, :units], "b": rows[:, :units]})
        assert same.alignment(["same_index"])["same_index"].tolist() == [1, 1]
        assert same.shared_origin == ""


def test_layers_of_other_names_say_nothing_where_some_share_theirs() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 300, 20))
    nets = {"a": {"low": rows[0], "high": rows[1]}, "b": {"low": rows[2], "deep": rows[1]}}
    assert raycv.compare(nets, compare="all").shared_origin == ""
    assert SHARED in raycv.compare({"a": {"x": rows[1]}, "b": {"y": rows[1]}}, compare=[["x", "y"]]).shared_origin


def test_weights_tell_where_units_do_not() -> None:
    """Two thirds of a large step towards other weights leave no unit with its index, and weights that correlate."""
    first, other, twin = (network(0), network(1), network(0))
    with torch.no_grad():
        for mine, theirs in zip(twin.parameters(), other.parameters(), strict=True):
            mine.mul_(0.5).add_(theirs)
    found = raycv.compare({"first": first, "twin": twin}, images(), layers=["4"])
    said = found.shared_origin
    assert said.startswith(f"first and twin {SHARED}: ")
    assert f"their weights correlate by {found.weight_correlations[frozenset(('first', 'twin'))]:.2f}" in said
