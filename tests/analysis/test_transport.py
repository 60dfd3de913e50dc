"""Transport plans against the whole linear program, brute force and what must hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from raycv.analysis.arrays import Floats
from raycv.analysis.transport import partial_plan, transport, uniform_plan


def whole_program(similarity: Floats, mass: float = 1.0) -> float:
    """The largest Σ P s over all plans with row sums <= 1/m, column sums <= 1/n and ``mass`` in all, dense."""
    m, n = similarity.shape
    limits = np.vstack([np.kron(np.eye(m), np.ones(n)), np.kron(np.ones(m), np.eye(n))])
    most = np.concatenate([np.full(m, 1 / m), np.full(n, 1 / n)])
    solved = linprog(-similarity.ravel(), A_ub=limits, b_ub=most, A_eq=np.ones((1, m * n)), b_eq=[mass])
    assert solved.fun is not None
    return -solved.fun


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16), st.floats(0.05, 1))
def test_plans_are_those_of_the_whole_program(m: int, n: int, seed: int, mass: float) -> None:
    similarity = np.random.default_rng(seed).uniform(-1, 1, (m, n))
    plan, part = uniform_plan(similarity), partial_plan(similarity, mass)
    np.testing.assert_allclose(plan.sum(1), 1 / m, atol=1e-9)
    np.testing.assert_allclose(plan.sum(0), 1 / n, atol=1e-9)
    assert part.sum() == pytest.approx(mass)
    assert plan.min() >= -1e-9
    assert part.min() >= -1e-9
    assert part.sum(1).max() <= 1 / m + 1e-9
    assert part.sum(0).max() <= 1 / n + 1e-9
    assert (plan * similarity).sum() == pytest.approx(whole_program(similarity), abs=1e-8)
    assert (part * similarity).sum() == pytest.approx(whole_program(similarity, mass), abs=1e-8)


def test_a_plan_between_equal_numbers_is_the_best_permutation() -> None:
    similarity = np.random.default_rng(0).uniform(-1, 1, (6, 6))
    best = max(similarity[range(6), list(p)].mean() for p in itertools.permutations(range(6)))
    assert (uniform_plan(similarity) * similarity).sum() == pytest.approx(best)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_a_part_that_is_whole_pairs_is_that_of_the_whole_program(n: int) -> None:
    for count in range(1, n + 1):
        similarity = np.random.default_rng(count).uniform(-1, 0.5, (n, n))
        plan = partial_plan(similarity, count / n)
        assert (plan > 1e-12).sum() == count
        assert (plan * similarity).sum() == pytest.approx(whole_program(similarity, count / n), abs=1e-8)


def test_a_large_plan_is_best_by_its_prices() -> None:
    rng = np.random.default_rng(1)
    similarity = rng.uniform(-1, 1, (120, 97))
    plan = uniform_plan(similarity)
    other = transport(similarity.T, np.full(97, 1 / 97), np.full(120, 1 / 120)).T
    assert (plan * similarity).sum() == pytest.approx((other * similarity).sum(), abs=1e-9)
    assert (plan > 1e-12).sum() <= 120 + 97 - 1


def test_equal_similarities() -> None:
    plan = uniform_plan(np.full((3, 5), 0.2))
    assert (plan * 0.2).sum() == pytest.approx(0.2)


@pytest.mark.parametrize("mass", [0, -0.1, 1.1])
def test_impossible_masses_are_refused(mass: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        partial_plan(np.zeros((2, 2)), mass)
