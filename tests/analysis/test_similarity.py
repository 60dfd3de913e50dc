"""Correlation and the jackknife against numpy and against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.analysis.similarity import correlation, jackknife


def test_correlation_is_the_block_of_corrcoef() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 4)), rng.standard_normal((200, 3))
    b[:, 1] = a[:, 2] * -2 + 5
    expected = np.corrcoef(a, b, rowvar=False)[:4, 4:]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-12)
    assert correlation(a, b)[2, 1] == pytest.approx(-1)


def test_constant_units_have_no_correlation() -> None:
    a = np.random.default_rng(0).standard_normal((50, 2))
    a[:, 1] = 0.1
    found = correlation(a, a)
    assert np.isnan(found[1]).all()
    assert found[0, 0] == pytest.approx(1)


def test_unpaired_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="paired samples"):
        correlation(np.zeros((3, 2)), np.zeros((4, 2)))


def test_jackknife_of_a_mean_is_students_interval() -> None:
    """For the mean of g values the delete-one jackknife is exactly s / sqrt(g)."""
    values = np.random.default_rng(1).standard_normal(8)
    without = [np.delete(values, i).mean() for i in range(8)]
    found = jackknife(values.mean(), without)
    half = 2.364624251592784 * values.std(ddof=1) / np.sqrt(8)  # the 97.5% point of Student's t with 7 degrees
    assert found.low == pytest.approx(values.mean() - half)
    assert found.high == pytest.approx(values.mean() + half)


def test_jackknife_needs_two_groups() -> None:
    assert np.isnan(jackknife(1.0, []).low)
    assert np.isnan(jackknife(1.0, [1.0]).high)
