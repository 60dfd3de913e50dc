"""Orders of removal and compensation against least squares on the samples themselves."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.analysis.arrays import Floats
from raycv.analysis.removal import compensation, of_z_scores, order_by, redundancy_order


def layer(seed: int, units: int = 12, samples: int = 400) -> Floats:
    """Rectified units (samples, units) that depend on one another; unit 3 is dead."""
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.standard_normal((samples, 5)) @ rng.standard_normal((5, units)), 0)
    x += 0.3 * rng.standard_normal(x.shape) + rng.uniform(0, 5, units)
    x[:, 3] = 2.0
    return x


def unexplained(x: Floats, unit: int, others: list[int]) -> float:
    """The fraction of a unit's variance that least squares on the ``others`` leaves."""
    design = np.column_stack([x[:, others], np.ones(len(x))])
    found = np.linalg.lstsq(design, x[:, unit], rcond=None)[0]
    return float((x[:, unit] - design @ found).var() / x[:, unit].var())


@pytest.mark.parametrize("seed", range(3))
def test_what_goes_next_is_what_the_others_predict_best(seed: int) -> None:
    x = layer(seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        order = redundancy_order(np.corrcoef(x, rowvar=False)).tolist()
    assert order[0] == 3
    there = sorted(order[1:])
    for unit in order[1:-1]:
        left = {u: unexplained(x, u, [other for other in there if other != u]) for u in there}
        assert left[unit] <= min(left.values()) + 1e-4
        there.remove(unit)
    assert sorted(order) == list(range(12))


def test_units_without_a_value_count_as_lowest() -> None:
    values = [0.3, np.nan, 0.1, 0.3]
    assert order_by(values).tolist() == [1, 2, 0, 3]
    assert order_by(values, highest_first=True).tolist() == [0, 3, 2, 1]


def test_two_equal_units_do_not_both_go() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4))
    x = np.column_stack([x, x[:, 0]])
    order = redundancy_order(np.corrcoef(x, rowvar=False)).tolist()
    assert order[0] in (0, 4)
    assert order[1] not in (0, 4)


@pytest.mark.parametrize("removed", [[0], [2, 3, 7], [1, 3, 4, 6, 8, 9, 10, 11]])
def test_compensation_is_least_squares_and_never_worse_for_the_next_layer(removed: list[int]) -> None:
    x = layer(4)
    usable = np.arange(12) != 3
    gone = np.array(removed)
    kept = np.setdiff1d(np.arange(12), gone)
    found = compensation(x.mean(0), np.cov(x, rowvar=False, bias=True), usable, gone)
    guess = x[:, kept] @ found.weights.T + found.offset
    design = np.column_stack([x[:, np.setdiff1d(kept, [3])], np.ones(len(x))])
    expected = design @ np.linalg.lstsq(design, x[:, gone], rcond=None)[0]
    np.testing.assert_allclose(guess, expected, atol=1e-8)
    rng = np.random.default_rng(0)
    for _ in range(20):  # whatever the next layer's weights are
        following = rng.standard_normal((len(gone), 6))
        with_it, without = (((x[:, gone] - v) @ following) ** 2 for v in (guess, x[:, gone].mean(0)))
        assert (with_it.mean(0) <= without.mean(0) + 1e-12).all()


def test_without_any_unit_left_all_are_their_means() -> None:
    x = layer(5)
    found = compensation(x.mean(0), np.cov(x, rowvar=False, bias=True), np.arange(12) != 3, np.arange(12))
    assert found.weights.shape == (12, 0)
    np.testing.assert_allclose(found.offset, x.mean(0))


def test_a_rare_unit_predicts_nothing_and_is_its_mean() -> None:
    x = layer(6)
    usable = ~np.isin(np.arange(12), [3, 5])
    found = compensation(x.mean(0), np.cov(x, rowvar=False, bias=True), usable, np.array([0, 5]))
    kept = np.setdiff1d(np.arange(12), [0, 5])
    assert not found.weights[1].any()
    assert not found.weights[:, kept == 3].any()
    assert found.offset[1] == pytest.approx(x[:, 5].mean())


def test_weights_of_z_scores_are_those_of_activations() -> None:
    rng = np.random.default_rng(7)
    x, w = rng.uniform(1, 3, (50, 4)), rng.standard_normal((3, 4))
    mean, std = np.array([1.0, -2.0, 0.5]), np.array([2.0, 0.1, np.nan])
    found = of_z_scores(w, x.mean(0), x.std(0), mean, std)
    expected = mean + np.nan_to_num(std) * ((x - x.mean(0)) / x.std(0) @ w.T)
    np.testing.assert_allclose(x @ found.weights.T + found.offset, expected)
