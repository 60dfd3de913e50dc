"""The paper's training in expectation: its literal transcription, its closed form, its published results."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.analysis.arrays import Floats
from raycv.analysis.mapping import lasso_path
from raycv.analysis.sgd import Schedule, sgd_path
from tests.support.activations import conv1, correlations, nets

SHORT = Schedule(iterations=300, learning_rate=0.02, halve_every=100, momentum=0.9)


def start(seed: int, gram: Floats, targets: int) -> Floats:
    """N(0, 0.01²), scaled so that the mean variance of the predictions is 1."""
    weights = np.random.default_rng(seed).normal(0, 0.01, (targets, len(gram)))
    scaled: Floats = weights / np.sqrt(np.diagonal(weights @ gram @ weights.T).mean())
    return scaled


def test_recursion_is_gradient_descent_on_the_literal_loss() -> None:
    x, y = nets(0)
    gram, cross = correlations(x, y)
    decay = 1e-3
    weights, velocity = start(4, gram, 15), np.zeros((15, 20))
    for iteration in range(300):
        rate = [0.02, 0.01, 0.005][iteration // 100]
        gradient = (x @ weights.T - y).T @ x / len(x) / 15 + decay * np.sign(weights)
        velocity = 0.9 * velocity - rate * gradient
        weights = weights + velocity
    layer = sgd_path(gram, cross, [decay], seed=4, schedule=SHORT)[0]
    np.testing.assert_allclose(layer.weights, weights, atol=2e-4)
    assert layer.loss == pytest.approx(((x @ layer.weights.T - y) ** 2).mean() / 2, abs=1e-9)


def test_without_decay_each_eigenvector_follows_its_own_recursion() -> None:
    gram, cross = correlations(*nets(1))
    values, vectors = np.linalg.eigh(gram)
    optimum = np.linalg.solve(gram, cross).T
    error, velocity = (start(0, gram, 15) - optimum) @ vectors, np.zeros((15, 20))
    for iteration in range(300):
        velocity = 0.9 * velocity - 0.02 * 0.5 ** (iteration // 100) * values / 15 * error
        error = error + velocity
    layer = sgd_path(gram, cross, [0], schedule=SHORT)[0]
    np.testing.assert_allclose((layer.weights - optimum) @ vectors, error, atol=1e-4)


def test_published_schedule_leaves_what_its_rates_add_up_to() -> None:
    gram = np.eye(5)
    first = start(0, gram, 200)
    last = sgd_path(gram, np.zeros((5, 200)), [0])[0].weights
    np.testing.assert_allclose(last, first * np.exp(-131 / 200), rtol=0.02, atol=1e-6)


def test_table_1_on_conv1() -> None:
    layers = sgd_path(*conv1(), [0, 1e-4, 1e-3, 10**-2.6])
    np.testing.assert_allclose([layer.loss for layer in layers], [0.170, 0.162, 0.172, 0.235], atol=0.004)
    assert layers[-1].units_used() == pytest.approx(4.7, abs=0.5)


def test_approaches_the_exact_optimum_from_above() -> None:
    gram, cross = correlations(*nets(2))
    for best in lasso_path(gram, cross, [0, 1e-3]):
        least = best.loss + best.alpha * np.abs(best.weights).sum(1).mean()
        above = []
        for rate in (0.001, 0.003, 0.01):
            layer = sgd_path(gram, cross, [best.decay], schedule=Schedule(learning_rate=rate))[0]
            above.append(layer.loss + layer.alpha * np.abs(layer.weights).sum(1).mean() - least)
            assert layer.duality_gap >= above[-1]
        assert above == sorted(above, reverse=True)
        assert 0 < above[-1] < 0.01


def test_starts_are_reproducible_and_dead_units_stay_out() -> None:
    gram, cross = correlations(*nets(3))
    cross[:, 2] = np.nan
    gram[5], gram[:, 5], cross[5] = np.nan, np.nan, np.nan
    first, again = (sgd_path(gram, cross, [1e-4], schedule=SHORT)[0] for _ in range(2))
    other = sgd_path(gram, cross, [1e-4], seed=1, schedule=SHORT)[0]
    np.testing.assert_array_equal(first.weights, again.weights)
    assert np.abs(first.weights - other.weights).max() > 1e-3
    assert not first.weights[2].any()
    assert not first.weights[:, 5].any()
    assert np.isnan(first.target_loss[2])
    assert np.isfinite(first.loss)
