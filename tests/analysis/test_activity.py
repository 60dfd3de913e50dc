"""Mean activations: the paper's printed numbers, scipy, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from raycv.analysis.activity import activity_ranking, activity_spread

# The eight largest mean activations of conv1 and of conv2 in Net1 to Net4, as printed in figures 18 and 19.
CONV1 = [
    np.array([98.4, 84.9, 84.0, 83.5, 82.4, 81.7, 77.4, 70.7]),
    np.array([130.3, 118.1, 99.5, 84.1, 70.2, 60.8, 57.6, 52.9]),
    np.array([108.6, 107.4, 95.0, 72.1, 61.1, 60.7, 58.2, 57.1]),
    np.array([109.6, 102.3, 88.5, 82.0, 76.7, 72.5, 68.8, 57.5]),
]
CONV2 = [
    np.array([121.8, 117.1, 78.6, 36.7, 27.8, 26.0, 22.6, 19.2]),
    np.array([49.0, 48.9, 32.5, 31.3, 27.2, 27.2, 24.0, 23.9]),
    np.array([46.8, 41.7, 34.5, 32.0, 25.4, 25.0, 23.9, 23.8]),
    np.array([110.8, 92.2, 59.6, 34.4, 29.6, 28.5, 27.7, 26.9]),
]


def test_ranking() -> None:
    found = activity_ranking(np.array([3.0, 0.0, 7.0, 3.0, 0.0, 1.0]))
    np.testing.assert_array_equal(found.units, [2, 0, 3, 5, 1, 4])
    np.testing.assert_array_equal(found.means, [7, 3, 3, 1, 0, 0])
    np.testing.assert_array_equal(found.silent, [1, 4])
    np.testing.assert_array_equal(found.most_active(2), [2, 0])
    np.testing.assert_array_equal(found.least_active(2), [3, 5])
    for ends in (found.most_active(8), found.least_active(8)):
        np.testing.assert_array_equal(ends, [2, 0, 3, 5])
    assert found.least_active(0).size == 0


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1e6)), st.randoms())
def test_ranking_orders_and_names_every_unit(means: np.ndarray, random: object) -> None:
    found = activity_ranking(means)
    np.testing.assert_array_equal(means[found.units], found.means)
    np.testing.assert_array_equal(np.sort(found.units), np.arange(len(means)))
    assert (np.diff(found.means) <= 0).all()


def test_spread_of_the_papers_largest_means() -> None:
    conv1, conv2 = activity_spread(CONV1), activity_spread(CONV2)
    np.testing.assert_allclose(conv1.highest, [98.4, 130.3, 108.6, 109.6])  # "the range for conv1 was 98 to 130"
    assert conv1.top_ratio == pytest.approx(130.3 / 98.4)
    assert conv2.top_ratio == pytest.approx(121.8 / 46.8)  # "on the conv2 layer by a factor of two"
    assert conv2.typical_ratio < 1.5 < conv2.top_ratio  # "much of the spectrum matches well"
    np.testing.assert_allclose(
        conv2.rank_ratio, [max(rank) / min(rank) for rank in zip(*CONV2, strict=True)], rtol=1e-12
    )


def test_spread_against_scipy_and_by_hand() -> None:
    rng = np.random.default_rng(0)
    nets = [np.append(10 ** rng.normal(0, 0.5, size), np.zeros(3)) for size in (30, 20, 24)]
    found = activity_spread(nets)
    live = [net[:-3] for net in nets]
    np.testing.assert_allclose(found.highest, [net.max() for net in live])
    np.testing.assert_allclose(found.lowest, [net.min() for net in live])
    np.testing.assert_allclose(found.decades, [np.log10(net.max() / net.min()) for net in live])
    assert found.rank_ratio.shape == (20,)
    assert found.distance[0, 1] == wasserstein_distance(np.log10(live[0]), np.log10(live[1]))
    np.testing.assert_array_equal(found.distance, found.distance.T)


def test_scaled_nets_are_that_far_apart_at_every_rank_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    net = rng.gamma(0.5, size=40)
    found = activity_spread([net, 10 * rng.permutation(net)])
    np.testing.assert_allclose(found.rank_ratio, 10)
    np.testing.assert_allclose(found.distance, [[0, 1], [1, 0]], atol=1e-12)
    same = activity_spread([net, rng.permutation(net)])
    assert same.top_ratio == same.typical_ratio == 1


def test_bad_means_are_named() -> None:
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"got {bad} for unit 1"):
            activity_ranking(np.array([1.0, bad]))
    with pytest.raises(ValueError, match=r"got shape \(2, 2\)"):
        activity_ranking(np.ones((2, 2)))
    with pytest.raises(ValueError, match="no unit of net 2 fires"):
        activity_spread([np.ones(3), np.zeros(3)])
    with pytest.raises(ValueError, match="no net was given"):
        activity_spread([])
