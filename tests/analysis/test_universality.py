"""The published definitions against what their papers describe, done directly on the same activations."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.analysis import correlation, excess_correlation, mutual_first
from raycv.analysis.rotations import Rotations


def activations(seed: int, units: int, samples: int = 3000) -> np.ndarray:
    """Neurons after a GELU-like non-linearity, of very different scales, that follow common causes."""
    causes = np.random.default_rng(0).standard_normal((samples, 12))
    rng = np.random.default_rng(seed)
    before = causes @ rng.standard_normal((12, units)) + rng.standard_normal((samples, units))
    found: np.ndarray = np.maximum(before - 1, 0.05 * before) * 10 ** rng.uniform(-2, 2, units)
    return found


def of_pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation, pair by pair."""
    return np.array([[np.corrcoef(x, y)[0, 1] for y in b.T] for x in a.T])


@pytest.mark.parametrize("rotations", [1, 3])
def test_the_excess_is_that_of_activations_rotated_themselves(rotations: int) -> None:
    a, b = activations(1, 25), activations(2, 40)
    by_chance = [of_pairs(a, b @ q).max(1) for q in Rotations(5).each(40, rotations)]
    direct = of_pairs(a, b).max(1) - np.mean(by_chance, axis=0)
    found = excess_correlation(correlation(a, b), np.cov(b.T), rotations=rotations, seed=5)
    np.testing.assert_allclose(found, direct, atol=1e-9)


def test_mutual_firsts_are_those_that_a_search_finds() -> None:
    a, b = activations(1, 25), activations(2, 40)
    values = of_pairs(a, b)
    direct = [values[:, np.argmax(values[i])].argmax() == i for i in range(25)]
    assert mutual_first(correlation(a, b)).tolist() == direct
    assert 0 < sum(direct) < 25


def test_copies_are_universal_and_their_rotation_is_not() -> None:
    x = np.maximum(np.random.default_rng(0).standard_normal((4000, 60)), 0)
    order = np.random.default_rng(1).permutation(60)
    turned = x @ next(Rotations(9).each(60, 1))
    for other, low, high in ((x[:, order], 0.5, 1), (turned, -0.2, 0.2)):
        found = excess_correlation(correlation(x, other), np.cov(other.T))
        assert low < found.min()
        assert found.max() < high
    assert mutual_first(correlation(x, x[:, order])).all()


def test_of_units_with_nothing_in_common_half_are_mutual_firsts() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 2000, 400))
    assert mutual_first(correlation(a, b)).mean() == pytest.approx(400 / 799, abs=0.06)  # n·n / (2n - 1) pairs


def test_dead_units_take_no_part() -> None:
    a, b = activations(1, 10), activations(2, 12)
    cross, covariance = correlation(a, b), np.cov(b.T)
    alone = excess_correlation(cross[1:, 1:], covariance[1:, 1:])
    cross[0], cross[:, 0], covariance[0], covariance[:, 0] = (np.nan,) * 4
    found = excess_correlation(cross, covariance)
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], alone)
    assert mutual_first(cross).tolist() == [False, *mutual_first(cross[1:, 1:])]
    assert np.isnan(excess_correlation(np.full((3, 2), np.nan), np.full((2, 2), np.nan))).all()
    assert mutual_first(np.full((3, 2), np.nan)).tolist() == [False] * 3


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cross must be \(S_a, S_b\)"):
        excess_correlation(np.zeros((3, 4)), np.eye(3))
    with pytest.raises(ValueError, match="1 or more"):
        excess_correlation(np.zeros((3, 4)), np.eye(4), rotations=0)
    with pytest.raises(ValueError, match="two axes"):
        mutual_first(np.zeros(3))
