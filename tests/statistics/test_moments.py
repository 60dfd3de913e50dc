"""Moments against two-pass oracles in float64, and their algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raycv.statistics.accumulator import ROWS_OF_STRIP, Accumulator
from raycv.statistics.moments import JointMoments, correlation, mean, merge, offsets, variance
from raycv.statistics.parts import from_arrays, to_arrays

CPU = torch.device("cpu")


def accumulate(samples: list[np.ndarray], pilot: np.ndarray | None = None, pieces: int = 1) -> JointMoments:
    stacked = np.concatenate(samples, axis=1)
    if pilot is None:
        pilot = stacked[:16].astype(np.float64).mean(0).astype(np.float32)
    accumulator = Accumulator([s.shape[1] for s in samples], pilot, CPU)
    for piece in np.array_split(np.arange(len(stacked)), pieces):
        accumulator.add([torch.from_numpy(s[piece]) for s in samples])
    return accumulator.moments()


def activations(seed: int, rows: int, widths: tuple[int, ...]) -> list[np.ndarray]:
    """Rectified, correlated values like those of a network."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((rows, 5))
    return [
        np.maximum(shared @ rng.standard_normal((5, w)) + rng.standard_normal((rows, w)), 0).astype(np.float32)
        for w in widths
    ]


@pytest.mark.parametrize("rows", [3, 1000, 20_000])
@pytest.mark.parametrize("widths", [(4, 4), (7, 3, 5, 1)])
def test_correlations_equal_corrcoef(rows: int, widths: tuple[int, ...]) -> None:
    samples = activations(rows, rows, widths)
    m = accumulate(samples, pieces=3 if rows > 3 else 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        oracle = np.asarray(np.corrcoef(np.concatenate(samples, axis=1).astype(np.float64), rowvar=False))
    bounds = offsets(widths)
    for a in range(len(widths)):
        for b in range(len(widths)):
            expected = oracle[bounds[a] : bounds[a + 1], bounds[b] : bounds[b + 1]]
            np.testing.assert_allclose(correlation(m, a, b), expected, atol=5e-6)


def test_wide_layers_are_multiplied_strip_by_strip_and_mirrored() -> None:
    samples = activations(0, 120, (ROWS_OF_STRIP + 70, 9, 2 * ROWS_OF_STRIP + 1))
    accumulator = Accumulator(
        [s.shape[1] for s in samples], np.zeros(sum(s.shape[1] for s in samples), np.float32), CPU
    )
    for piece in (slice(0, 50), slice(50, 120)):
        accumulator.add([torch.from_numpy(s[piece]) for s in samples])
        m = accumulator.moments()  # also before all is added
    exact = [s.astype(np.float64) for s in samples]
    for a, x in enumerate(exact):
        for b, y in enumerate(exact):
            np.testing.assert_allclose(m.products(a, b), x.T @ y, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("ratio", [1e2, 1e3, 1e4])
def test_large_means_keep_their_digits(ratio: float) -> None:
    """Values whose mean is ``ratio`` times their spread: hopeless in float32 without the pilot."""
    samples = [s + np.float32(ratio) for s in activations(1, 20_000, (6, 6))]
    m = accumulate(samples)
    oracle = np.asarray(np.corrcoef(np.concatenate(samples, axis=1).astype(np.float64), rowvar=False))
    np.testing.assert_allclose(correlation(m, 0, 1), oracle[:6, 6:], atol=5e-6)
    np.testing.assert_allclose(mean(m), np.concatenate(samples, axis=1).astype(np.float64).mean(0), rtol=1e-7)


def test_units() -> None:
    samples = activations(2, 5000, (6, 4))
    stacked = np.concatenate(samples, axis=1).astype(np.float64)
    m = accumulate(samples, pieces=7)
    assert m.count == 5000
    np.testing.assert_allclose(np.sqrt(variance(m)), stacked.std(0), rtol=1e-5)
    np.testing.assert_array_equal(m.active, (stacked > 0).sum(0))
    np.testing.assert_allclose(m.minimum + m.pilot, stacked.min(0), atol=1e-6)
    np.testing.assert_allclose(m.maximum + m.pilot, stacked.max(0), atol=1e-6)


def test_constant_units_are_nan_and_keep_their_number() -> None:
    samples = activations(3, 500, (5, 5))
    samples[0][:, 2] = 0.1  # 0.1 is not a float32: a mean of such values differs from them by rounding
    m = accumulate(samples)
    within, between = correlation(m, 0, 0), correlation(m, 0, 1)
    assert variance(m)[2] == 0
    assert np.isnan(within[2]).all()
    assert np.isnan(within[:, 2]).all()
    assert np.isnan(between[2]).all()
    assert np.isfinite(np.delete(between, 2, axis=0)).all()
    np.testing.assert_array_equal(np.delete(np.diagonal(within), 2), 1.0)


@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(2, 60),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    cut=st.floats(0, 1),
)
def test_merging_parts_is_taking_all(seed: int, rows: int, widths: list[int], cut: float) -> None:
    samples = activations(seed, rows, tuple(widths))
    pilot = np.concatenate(samples, axis=1).mean(0)
    middle = min(max(1, round(cut * rows)), rows - 1)
    left, right = (accumulate([s[part] for s in samples], pilot) for part in (slice(middle), slice(middle, None)))
    before = [array.copy() for array in to_arrays(left).values()]
    both, whole = merge(left, right), accumulate(samples, pilot)
    for name, value in to_arrays(whole).items():
        np.testing.assert_allclose(to_arrays(both)[name], value, rtol=1e-5, atol=1e-4, err_msg=name)
    for old, new in zip(before, to_arrays(left).values(), strict=True):
        np.testing.assert_array_equal(old, new)  # merging leaves its arguments alone
    for name, value in to_arrays(merge(right, left)).items():
        np.testing.assert_array_equal(to_arrays(both)[name], value)


@given(seed=st.integers(0, 2**16))
def test_permuting_units_permutes_correlations(seed: int) -> None:
    samples = activations(seed, 400, (5, 6))
    order = np.random.default_rng(seed).permutation(6)
    plain, shuffled = accumulate(samples), accumulate([samples[0], samples[1][:, order]])
    np.testing.assert_allclose(correlation(plain, 0, 1)[:, order], correlation(shuffled, 0, 1), atol=1e-6)


def test_arrays_round_trip() -> None:
    m = accumulate(activations(5, 100, (3, 2)))
    again = from_arrays(to_arrays(m), (3, 2), (0, 1))
    for name, value in to_arrays(m).items():
        np.testing.assert_array_equal(to_arrays(again)[name], value)
    turned = from_arrays(to_arrays(m), (2, 3), (1, 0))
    np.testing.assert_array_equal(turned.products(0, 1), m.products(1, 0))
    first, last = turned.strips()
    np.testing.assert_array_equal(first, np.hstack([m.products(1, 1), m.products(1, 0)]))
    np.testing.assert_array_equal(last, m.products(0, 0))


def test_of_squares_alone_no_products_are_given() -> None:
    m = accumulate(activations(5, 100, (3, 2)))
    arrays = {name: values for name, values in to_arrays(m).items() if "-" not in name}
    squares = from_arrays(arrays, (3, 2), (0, 1))
    np.testing.assert_array_equal(variance(merge(squares, squares)), variance(merge(m, m)))
    with pytest.raises(ValueError, match="only the squares of single units are known"):
        squares.products(0, 0)


def test_only_like_moments_merge() -> None:
    a = accumulate(activations(1, 50, (3, 2)))
    b = accumulate(activations(2, 50, (3, 2)))  # another pilot
    with pytest.raises(ValueError, match="same pilot"):
        merge(a, b)
