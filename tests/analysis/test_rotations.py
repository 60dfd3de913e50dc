"""Shared rotations are what independent ones are: orthonormal, uniform, and independent of each other in pairs."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from raycv.analysis import rotations
from raycv.analysis.nulls import rotated, rotated_all
from raycv.analysis.rotations import Rotations
from tests.support.activations import nets
from tests.support.copies import pair


@pytest.mark.parametrize("units", [1, 2, 9])
def test_they_are_orthonormal_and_the_same_in_whatever_order_they_are_asked_for(units: int) -> None:
    one, other = Rotations(4), Rotations(4)
    list(other.each(units + 1, 20))
    few = list(other.each(units, 3))
    for n, (first, second) in enumerate(zip(one.each(units, 20), other.each(units, 20), strict=True)):
        np.testing.assert_allclose(first @ first.T, np.eye(units), atol=1e-12)
        np.testing.assert_array_equal(first, second)
        if n < 3:
            np.testing.assert_array_equal(first, few[n])


def test_products_are_uniform_and_independent_of_their_factors() -> None:
    """Of uniform rotations the squares of entries have mean 1/S and variance 2 (S - 1) / (S² (S + 2))."""
    units, repeats = 4, 4000
    entries = np.array([[q[0, 0] for q in Rotations(seed).each(units, 7)] for seed in range(repeats)])
    error = np.sqrt(2 * (units - 1) / (units**2 * (units + 2)) / repeats)
    np.testing.assert_allclose((entries**2).mean(0), 1 / units, atol=4.5 * error)
    for power in (1, 2):
        related = np.corrcoef(entries**power, rowvar=False)[np.triu_indices(7, 1)]
        assert np.abs(related).max() < 4.5 / np.sqrt(repeats)


def test_all_partners_of_a_layer_have_the_null_that_they_have_alone() -> None:
    x, y = nets(2, sources=30, targets=25)
    cross, within = pair(x, y)
    dead = cross.copy()
    dead[3] = np.nan
    crosses = [cross[:10], dead, cross[10:11]]
    for found, of_a in zip(rotated_all(crosses, within, Rotations(1)), crosses, strict=True):
        alone = rotated(of_a, within, seed=Rotations(1))
        np.testing.assert_allclose(found.values, alone.values, atol=1e-12)
        by_torch = rotated(of_a, within, seed=Rotations(1), device="cpu")
        np.testing.assert_allclose(by_torch.values, alone.values, atol=1e-9)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(rotations).failed == 0
