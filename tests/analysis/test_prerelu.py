"""Units mixed before their non-linearity: what is kept of them exactly, and nothing beyond chance without training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raycv.analysis.nulls import best_correlation
from raycv.analysis.prerelu import Mixable, rotated_before, rotated_before_relu, sample_correlation, standardise


@given(seed=st.integers(0, 2**32 - 1), units=st.integers(1, 12), samples=st.integers(2, 60))
def test_columns_are_active_as_often_as_units(seed: int, units: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    before = (rng.standard_normal((samples, units)) + 2 * rng.standard_normal(units)).astype(np.float32)
    mixed = rotated_before_relu(torch.from_numpy(before), seed=seed).numpy()
    assert mixed.min() >= 0
    # A unit that is always active has a mixture whose lowest sample is 0.
    expected = np.minimum(np.sort((before > 0).sum(0)), samples - 1)
    np.testing.assert_array_equal(np.sort((mixed > 0).sum(0)), expected)


def test_mixtures_are_those_of_numpy() -> None:
    rng = np.random.default_rng(1)
    before = rng.standard_normal((500, 6)).astype(np.float32) + np.linspace(-1, 1, 6, dtype=np.float32)
    mixed = rotated_before_relu(torch.from_numpy(before), seed=3).numpy()
    q, r = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))
    products = before.astype(np.float64) @ (q * np.sign(np.diagonal(r)))
    counts = np.sort((before > 0).sum(0))
    for column, place in zip(products.T, (products > 0).sum(0).argsort(kind="stable").argsort(), strict=True):
        threshold = np.sort(column)[len(column) - 1 - counts[place]]
        expected = np.maximum(column - threshold, 0)
        found = mixed[:, np.argmin(np.abs(mixed - expected[:, None]).sum(0))]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def correlation(a: np.ndarray, b: torch.Tensor) -> np.ndarray:
    scores = standardise(torch.from_numpy(a.astype(np.float32)))
    return sample_correlation(scores, standardise(b.clone())).numpy()


def test_networks_without_units_of_their_own_have_no_excess() -> None:
    """Layers of Gaussian weights on the same inputs: mixed before the ReLU they are as alike as they are."""
    rng = np.random.default_rng(0)
    excess = []
    for _ in range(8):
        inputs = rng.standard_normal((4000, 12)) / np.arange(1, 13) ** 0.5
        a, b = (inputs @ rng.standard_normal((12, 40)) for _ in range(2))
        rectified = torch.from_numpy(np.maximum(b, 0).astype(np.float32))
        mixed = rotated_before_relu(torch.from_numpy(b.astype(np.float32)), seed=5)
        of_units, of_mixtures = (best_correlation(correlation(np.maximum(a, 0), to)) for to in (rectified, mixed))
        excess.append(of_units.mean() - of_mixtures.mean())
    assert abs(np.mean(excess)) < 3 * np.std(excess) / np.sqrt(8) + 0.002


@given(seed=st.integers(0, 2**32 - 1), units=st.integers(1, 12), samples=st.integers(3, 60))
def test_columns_have_the_means_and_deviations_of_units(seed: int, units: int, samples: int) -> None:
    rng = np.random.default_rng(seed)
    before = rng.standard_normal((samples, units)) * np.exp(rng.standard_normal(units)) + 2 * rng.standard_normal(units)
    mixed, active = rotated_before(torch.from_numpy(before), torch.clone, seed=seed)
    for of in (np.mean, np.std):
        np.testing.assert_allclose(np.sort(of(mixed.numpy(), axis=0)), np.sort(of(before, axis=0)), atol=1e-9)
    np.testing.assert_array_equal(active, (mixed > 0).sum(0))
    found, expected = (np.sort(values.mean(0) / values.std(0)) for values in (mixed.numpy(), before))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mixtures_before_other_functions_are_those_of_numpy() -> None:
    rng = np.random.default_rng(1)
    before = rng.standard_normal((500, 6)) * np.linspace(0.5, 2, 6) + np.linspace(-1, 1, 6)
    given = before / np.linspace(0.5, 2, 6)  # of weights of length 1
    like = torch.from_numpy(np.stack([before.mean(0), before.std(0)]))
    mixed, _ = rotated_before(torch.from_numpy(given), torch.tanh, like, seed=3)
    q, r = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))
    products = given @ (q * np.sign(np.diagonal(r)))
    units, columns = (np.argsort(values.mean(0) / values.std(0)) for values in (before, products))
    for unit, column in zip(units, columns, strict=True):
        z = (products[:, column] - products[:, column].mean()) / products[:, column].std()
        expected = np.tanh(z * before[:, unit].std() + before[:, unit].mean())
        np.testing.assert_allclose(mixed[:, column], expected, atol=1e-9)


def test_of_a_constant_unit_a_constant_column_is_made() -> None:
    before = torch.randn(100, 5, dtype=torch.float64)
    before[:, 2] = 3
    mixed, active = rotated_before(before, torch.sigmoid, seed=0)
    constant = mixed.std(0) == 0
    assert constant.tolist() == (active == 0).tolist()
    assert constant.sum() == 1
    assert mixed[0, constant].item() == pytest.approx(1 / (1 + np.exp(-3)))


def test_a_relu_is_mixed_with_thresholds() -> None:
    before = torch.randn(200, 4) - 0.5
    mixed, active = Mixable(before).mixed(seed=2)
    torch.testing.assert_close(mixed, rotated_before_relu(before, seed=2), rtol=0, atol=0)
    assert sorted(active.tolist()) == sorted((before > 0).sum(0).tolist())


def test_a_copy_exceeds_its_mixtures() -> None:
    rng = np.random.default_rng(2)
    before = rng.standard_normal((3000, 30)).astype(np.float32)
    values = np.maximum(before, 0)
    mixed = rotated_before_relu(torch.from_numpy(before), seed=0)
    assert best_correlation(correlation(values, torch.from_numpy(values))).min() == pytest.approx(1, abs=1e-5)
    assert best_correlation(correlation(values, mixed)).mean() < 0.7


def test_correlations_equal_numpy() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2500, 4)) + 3, rng.standard_normal((2500, 5)) * 7
    b[:, 2] = 1.5
    found = correlation(a, torch.from_numpy(b.astype(np.float32)))
    with np.errstate(invalid="ignore"):
        expected = np.corrcoef(a, b, rowvar=False)[:4, 4:]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.isnan(found[:, 2]).all()


def test_what_cannot_be_mixed_is_refused() -> None:
    for wrong in (torch.zeros(3), torch.zeros(0, 4), torch.full((2, 2), torch.inf)):
        with pytest.raises(ValueError, match="before must be a table"):
            rotated_before_relu(wrong, seed=0)
        with pytest.raises(ValueError, match="before must be a table"):
            rotated_before(wrong, torch.tanh, seed=0)
