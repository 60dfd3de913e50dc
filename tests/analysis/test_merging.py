"""Merged networks: moments in closed form, units paired and read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raycv.analysis.merging import Site, can_be_zipped, gain, interpolated, zipped, zipped_mean, zipped_units
from raycv.networks.unit_graph.tracing import unit_groups
from tests.support.architectures import architecture, images_for, loaded, weights_of


def site_of(*networks: np.ndarray) -> Site:
    """The moments of activations (samples, S) of several networks, by NumPy."""
    mean = np.stack([one.mean(0) for one in networks])
    covariance = [[((a - a.mean(0)) * (b - b.mean(0))).mean(0) for b in networks] for a in networks]
    return Site(mean, np.array(covariance))


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5)])
def test_the_moments_of_a_mean_follow_from_those_of_its_parts(shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 6))
    parts = [n + common + (n + 1) * rng.standard_normal((400, 6)) for n in range(len(shares))]
    mixed = np.sum([share * part for share, part in zip(shares, parts, strict=True)], axis=0)
    site = site_of(*parts)
    mean, deviation = site.expected(shares)
    np.testing.assert_allclose(mean, mixed.mean(0))
    np.testing.assert_allclose(deviation, mixed.std(0))
    wanted = site.wanted(shares)[1]
    np.testing.assert_allclose(wanted, sum(s * p.std(0) for s, p in zip(shares, parts, strict=True)))


def test_two_networks_have_the_variance_of_the_formula() -> None:
    rng = np.random.default_rng(1)
    a = rng.standard_normal((200, 3))
    b = 2 * a + rng.standard_normal((200, 3))
    rho = np.array([np.corrcoef(a[:, s], b[:, s])[0, 1] for s in range(3)])
    alpha, s1, s2 = 0.3, a.std(0), b.std(0)
    expected = (1 - alpha) ** 2 * s1**2 + alpha**2 * s2**2 + 2 * alpha * (1 - alpha) * rho * s1 * s2
    np.testing.assert_allclose(site_of(a, b).expected((1 - alpha, alpha))[1] ** 2, expected)


def test_a_constant_unit_is_left_as_it_is() -> None:
    np.testing.assert_array_equal(gain(np.array([2.0, 3.0]), np.array([0.0, 1.5])), [1.0, 2.0])


def test_counts_of_batches_are_not_averaged() -> None:
    both = [{"w": np.array([1, 3], np.float32), "count": np.int64(n)} for n in (4, 8)]
    found = interpolated([{k: np.asarray(v) for k, v in one.items()} for one in both], (0.25, 0.75))
    assert found["w"].tolist() == [1, 3]
    assert found["w"].dtype == np.float32
    assert found["count"] == 4


def test_the_most_similar_units_are_paired_first_also_within_a_network() -> None:
    within = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    between = np.array([[0.1, 0.2, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.8]])
    zipping = zipped_units(within, between, np.eye(3))
    assert zipping.together[0][0].tolist() == [0.5, 0.5, 0.0]  # units 0 and 1 of the first network
    assert zipping.together[1][1].tolist() == [0.0, 0.0, 0.5]
    np.testing.assert_array_equal(zipping.together.sum((0, 2)), 1)
    np.testing.assert_array_equal(zipping.apart.sum(2), 1)  # every unit is read from one merged unit


@pytest.mark.parametrize("name", ["vgg", "vgg with batch norm", "resnet", "densenet", "mobilenet"])
def test_a_network_zipped_with_a_permuted_copy_is_the_network(name: str) -> None:
    net, images = architecture(name), images_for(name)
    groups, weights = unit_groups(net, images), weights_of(net)
    orders = groups.drawn(2)
    copy, whole = groups.permuted(weights, orders), frozenset(weights)
    zips = {}
    for number in can_be_zipped(groups, whole):
        apart = np.zeros((groups.groups[number].size,) * 2)
        between = np.eye(groups.groups[number].size)[:, orders[number]]  # unit i is where its order has i
        zips[number] = zipped_units(apart, between, apart)
    assert len(zips) == len(groups.groups)
    with torch.inference_mode():
        logits = net(images)
        both = [loaded(net, one)(images) for one in zipped(groups, weights, copy, zips, whole)]
    for found in both:
        torch.testing.assert_close(found, logits, rtol=1e-8, atol=1e-8)


def test_two_heads_read_what_a_zipped_trunk_makes() -> None:
    net, images = architecture("vgg"), images_for("vgg")
    groups, weights = unit_groups(net, images), weights_of(net)
    trunk = groups.upstream["features.3"]
    assert trunk == {f"features.{n}.{kind}" for n in (0, 3) for kind in ("weight", "bias")}
    orders = groups.drawn(4)
    copy = groups.permuted(weights, orders)
    zips = {}
    for number in can_be_zipped(groups, trunk):
        size = groups.groups[number].size
        zips[number] = zipped_units(np.zeros((size, size)), np.eye(size)[:, orders[number]], np.zeros((size, size)))
    assert len(zips) == 2
    with torch.inference_mode():
        logits = net(images)
        for weights_of_head in zipped(groups, weights, copy, zips, trunk):
            torch.testing.assert_close(loaded(net, weights_of_head)(images), logits, rtol=1e-8, atol=1e-8)


def test_values_of_merged_units_are_those_of_their_parts() -> None:
    net, images = architecture("vgg"), images_for("vgg")
    groups = unit_groups(net, images)
    (block,) = groups.layers["features.0"]
    zipping = zipped_units(np.eye(6), np.eye(6), np.eye(6))
    values = [np.arange(6.0), 10 + np.arange(6.0)]
    found = zipped_mean(groups, "features.0", values, {block.groups[0] or 0: zipping})
    assert found.tolist() == (5 + np.arange(6)).tolist()
    np.testing.assert_array_equal(zipped_mean(groups, "features.3", [np.ones(8), np.zeros(8)], {}), 0.5)
