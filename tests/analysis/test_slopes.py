"""Slopes against numpy and scipy; their intervals against what many samples of networks give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from raycv.analysis.arrays import Floats
from raycv.analysis.similarity import jackknife
from raycv.analysis.slopes import slopes, stratified_jackknife

WIDTHS = np.log2([6, 12, 18, 24])


@given(st.integers(0, 2**32), st.integers(2, 8))
def test_one_slope_equals_numpy_and_scipy(seed: int, combinations: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(combinations) + rng.uniform(0, 0.5, combinations), rng.standard_normal(combinations)
    (slope,) = slopes(x[:, None], y)
    assert slope == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-9)
    assert slope == pytest.approx(linregress(x, y).slope, abs=1e-9)


def test_two_slopes_are_those_of_a_plane() -> None:
    grid = np.array([(w, n) for w in WIDTHS for n in (11.0, 12.0, 13.0)])
    values = 0.3 + grid @ [0.05, -0.02]
    np.testing.assert_allclose(slopes(grid, values), [0.05, -0.02], atol=1e-12)
    noisy = values + np.random.default_rng(0).standard_normal(len(values))
    expected = np.linalg.lstsq(np.column_stack([np.ones(len(grid)), grid]), noisy, rcond=None)[0][1:]
    np.testing.assert_allclose(slopes(grid, noisy), expected, atol=1e-12)


def test_regressors_that_go_together_are_refused() -> None:
    for x in ([[1, 2], [2, 4], [3, 6]], [[1, 5], [2, 5], [3, 5]], [[4], [4]]):
        with pytest.raises(ValueError, match="vary independently"):
            slopes(x, np.arange(len(x)))


def test_what_is_not_defined_is_nan() -> None:
    assert np.isnan(slopes(WIDTHS[:, None], [1, np.nan, 2, 3])).all()

    def mean(values: Floats) -> float:
        return float(values.mean())

    for values, replicates in (
        ([1.0, 2.0], [[1.0, 1.1, 0.9], [2.0, 2.1]]),
        ([1.0, np.nan], [[1.0, 1.1, 0.9], [2.0, 2.1, 2.2]]),
        ([1.0, 2.0], [[1.0, 1.1, 0.9], [2.0, np.nan, 2.2]]),
    ):
        interval = stratified_jackknife(values, replicates, mean)
        assert np.isnan([interval.low, interval.high]).all()
    same = stratified_jackknife([1.0, 3.0], [[1.0] * 3, [3.0] * 3], mean)
    assert (same.low, same.high) == (2.0, 2.0)


def test_of_one_sample_it_is_the_jackknife() -> None:
    replicates = np.random.default_rng(1).standard_normal(5)
    expected = jackknife(0.4, replicates)
    found = stratified_jackknife([0.4], [replicates], lambda values: float(values[0]))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def networks(rng: np.random.Generator, count: int) -> tuple[float, Floats]:
    """The mean over ordered pairs of networks of a value that both networks and the pair shift; and without each."""
    own = rng.normal(0, 0.03, count)
    pairs = 0.3 + own[:, None] + own + rng.normal(0, 0.01, (count, count))
    np.fill_diagonal(pairs, np.nan)
    kept = [np.delete(np.delete(pairs, n, 0), n, 1) for n in range(count)]
    return float(np.nanmean(pairs)), np.array([np.nanmean(rest) for rest in kept])


@pytest.mark.parametrize("count", [3, 4, 8])
def test_intervals_cover_the_choice_of_networks(count: int) -> None:
    rng = np.random.default_rng(count)
    truth, trials, covered, lengths = 0.04, 400, 0, []
    for _ in range(trials):
        found = [networks(rng, count) for _ in WIDTHS]
        values = truth * WIDTHS + [value for value, _ in found]
        replicates = [truth * x + without for x, (_, without) in zip(WIDTHS, found, strict=True)]
        interval = stratified_jackknife(values, replicates, lambda v: float(slopes(WIDTHS[:, None], v)[0]))
        covered += interval.low <= truth <= interval.high
        lengths.append(interval.high - interval.low)
    assert 0.93 <= covered / trials <= 0.985  # a jackknife of pairs is a little wide
    assert np.median(lengths) < 0.2  # and not by being useless
