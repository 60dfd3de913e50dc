"""The path as a GPU takes it, run here on the CPU, beside the one by active sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raycv.analysis import lasso, proximal
from raycv.analysis.arrays import Floats
from raycv.analysis.lasso import Problem, make_problem
from tests.support.activations import conv1, correlations, nets

CPU = torch.device("cpu")
ALPHAS = np.array([0.3, 0.1, 0.02, 1e-3])


def violation(problem: Problem, weights: Floats, alphas: Floats) -> Floats:
    """(D,): the largest violation of a KKT condition, in units of min(alpha, 1)."""
    worst = []
    for alpha, w in zip(alphas, weights, strict=True):
        gradient = problem.right - w @ problem.gram
        wrong = np.where(w == 0, np.abs(gradient) - alpha, np.abs(gradient - alpha * np.sign(w)))
        worst.append(wrong.max() / min(alpha, 1))
    return np.array(worst)


@given(
    seed=st.integers(0, 10_000),
    sources=st.integers(1, 30),
    targets=st.integers(1, 6),
    samples=st.integers(3, 60),
    twins=st.integers(0, 3),
)
def test_every_design_is_solved_to_the_tolerance(
    seed: int, sources: int, targets: int, samples: int, twins: int
) -> None:
    x, y = nets(seed, sources, targets, samples)
    x[:, 1 : 1 + twins] = x[:, :1]
    gram, cross = correlations(x, y)
    problem = make_problem(gram, np.ascontiguousarray(cross.T))
    weights = proximal.solve_path(problem, ALPHAS, 1e-6, CPU)
    assert (violation(problem, weights, ALPHAS) <= 1.001e-6).all()


def test_the_same_answer_as_active_sets() -> None:
    gram, cross = conv1()
    problem = make_problem((gram + gram.T) / 2, np.ascontiguousarray(cross.T))
    alphas = np.array([0.1, 10**-2.6, 1e-3, 1e-4]) * 96
    seen: list[tuple[int, int]] = []
    found = proximal.solve_path(problem, alphas, 1e-8, CPU, lambda done, of: seen.append((done, of)))
    np.testing.assert_allclose(found, lasso.solve_path(problem, alphas, 1e-8), atol=1e-6)
    assert seen == [(24, 96), (48, 96), (72, 96), (96, 96)]


def test_what_steps_do_not_reach_active_sets_do(monkeypatch: pytest.MonkeyPatch) -> None:
    gram, cross = correlations(*nets(1))
    problem = make_problem(gram, np.ascontiguousarray(cross.T))
    monkeypatch.setattr(proximal, "STEPS", 40)
    weights = proximal.solve_path(problem, ALPHAS, 1e-10, CPU)
    assert (violation(problem, weights, ALPHAS) <= 1.001e-10).all()


def test_nothing_to_solve() -> None:
    nothing = make_problem(np.empty((0, 0)), np.empty((3, 0)))
    assert proximal.solve_path(nothing, ALPHAS, 1e-6, CPU).shape == (4, 3, 0)
    no_targets = make_problem(np.eye(2), np.empty((0, 2)))
    assert proximal.solve_path(no_targets, ALPHAS, 1e-6, CPU).shape == (4, 0, 2)
