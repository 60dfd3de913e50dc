"""The exact mapping layer: sklearn, skglm, the paper's loss, KKT conditions from their definition, theorems."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import skglm
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from raycv.analysis.arrays import Floats
from raycv.analysis.lasso import make_problem
from raycv.analysis.mapping import MappingLayer, find_decay, lasso_path
from raycv.paper import DECAYS
from tests.support.activations import PUBLISHED, conv1, correlations, nets

PAPER = [*DECAYS]


def objective(gram: Floats, cross: Floats, weights: Floats, alpha: float) -> Floats:
    """(S_b,): ½ E[(z_c − w_c·z)²] + α‖w_c‖₁."""
    squares = 1 - 2 * (weights * cross.T).sum(1) + (weights @ gram * weights).sum(1)
    result: Floats = squares / 2 + alpha * np.abs(weights).sum(1)
    return result


def kkt_residual(gram: Floats, cross: Floats, layer: MappingLayer) -> float:
    gradient = cross.T - layer.weights @ gram
    inactive = np.maximum(np.abs(gradient) - layer.alpha, 0)
    active = np.abs(gradient - layer.alpha * np.sign(layer.weights))
    return float(np.where(layer.weights == 0, inactive, active).max())


# What is minimised


def test_the_loss_is_the_papers_loss_per_image() -> None:
    rng = np.random.default_rng(0)
    images, height, width, sources, targets = 40, 3, 5, 7, 6
    source = np.maximum(rng.standard_normal((images, height, width, sources)), 0)
    target = np.maximum(source @ rng.standard_normal((sources, targets)) + rng.standard_normal(targets), 0)
    dimensions = height * width * targets  # footnote 9
    scaled = [(a - a.mean((0, 1, 2))) / a.std((0, 1, 2)) / np.sqrt(dimensions) for a in (source, target)]
    x, y = (a.reshape(-1, a.shape[-1]) * np.sqrt(dimensions) for a in scaled)
    for layer in lasso_path(*correlations(x, y), [0, 1e-3, 1e-2]):
        errors = scaled[0] @ layer.weights.T - scaled[1]
        per_image = 0.5 * (errors**2).sum((1, 2, 3)).mean()
        assert layer.loss == pytest.approx(per_image, abs=1e-12)
        assert layer.alpha == layer.decay * targets
        # Its gradient is 0 or held at 0 by the penalty, per weight of the paper's own loss.
        gradient = (errors.reshape(-1, targets).T @ scaled[0].reshape(-1, sources)) / images
        assert (np.abs(gradient) <= layer.decay * (1 + 1e-9) + 1e-14).all()
        used = layer.weights != 0
        np.testing.assert_allclose(gradient[used], -layer.decay * np.sign(layer.weights[used]), atol=1e-12)


@pytest.mark.parametrize(("sources", "targets"), [(20, 15), (8, 21), (40, 3), (1, 1)])
@pytest.mark.parametrize("seed", range(2))
def test_no_worse_than_sklearn_on_raw_data(seed: int, sources: int, targets: int) -> None:
    x, y = nets(seed, sources, targets)
    gram, cross = correlations(x, y)
    for layer in lasso_path(gram, cross, [1e-4, 1e-3, 1e-2, 0.03]):
        fit = Lasso(alpha=layer.alpha, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y)
        theirs = objective(gram, cross, np.atleast_2d(fit.coef_), layer.alpha)
        np.testing.assert_allclose(objective(gram, cross, layer.weights, layer.alpha), theirs, atol=1e-8)
        np.testing.assert_allclose(layer.weights, np.atleast_2d(fit.coef_), atol=1e-3)
        r2 = 1 - ((y - x @ layer.weights.T) ** 2).mean(0)
        np.testing.assert_allclose(layer.target_r2, r2, atol=1e-10)
        assert layer.r2 == pytest.approx(r2.mean())


def test_skglm_agrees() -> None:
    x, y = nets(3)
    gram, cross = correlations(x, y)
    for layer in lasso_path(gram, cross, [1e-3, 1e-2]):
        theirs = [skglm.Lasso(alpha=layer.alpha, fit_intercept=False, tol=1e-12).fit(x, t).coef_ for t in y.T]
        np.testing.assert_allclose(layer.weights, theirs, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_sparse_truth_is_recovered(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4000, 60))
    truth = np.zeros((30, 60))
    for row in truth:
        row[rng.choice(60, 3, replace=False)] = rng.choice([-1, 1], 3) * rng.uniform(0.4, 0.6, 3)
    y = x @ truth.T
    x, y, scale = x / x.std(0), y / y.std(0), x.std(0) / y.std(0)[:, None]
    layer = lasso_path(x.T @ x / 4000, x.T @ y / 4000, [0.02 / 30])[0]
    assert ((layer.weights != 0) >= (truth != 0)).all()
    np.testing.assert_allclose(layer.weights, truth * scale, atol=0.1)
    assert 3 <= layer.units_used() < 6


# Hard inputs


@given(
    seed=st.integers(0, 10_000),
    sources=st.integers(1, 30),
    targets=st.integers(1, 6),
    samples=st.integers(3, 60),
    twins=st.integers(0, 3),
    decays=st.lists(st.floats(1e-6, 0.3), min_size=1, max_size=4),
)
def test_kkt_conditions_hold_on_any_data(
    seed: int, sources: int, targets: int, samples: int, twins: int, decays: list[float]
) -> None:
    """Fewer samples than units, exact copies and mirror images of units, targets that are sources: all singular."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, sources)) + rng.standard_normal((samples, 1))
    x = np.hstack([x, *[sign * x[:, :1] for sign in (1, -1, 1)[:twins]]])
    y = np.hstack([rng.standard_normal((samples, targets)), x[:, :1]])
    x, y = ((a - a.mean(0)) / a.std(0) for a in (x, y))
    gram, cross = correlations(x, y)
    for layer in lasso_path(gram, cross, decays):
        assert kkt_residual(gram, cross, layer) <= 1.01e-6
        assert layer.duality_gap <= 2e-6
        assert (layer.target_loss >= -1e-12).all()


@pytest.mark.parametrize("noise", [1e-3, 1e-5, 1e-7, 1e-9])
def test_nearly_dependent_units(noise: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((500, 20))
    x = np.hstack([x, x + noise * rng.standard_normal(x.shape), x[:, :5] + x[:, 5:10]])
    y = x[:, :10] + 0.3 * rng.standard_normal((500, 10)) + x[:, 10:20]
    x, y = ((a - a.mean(0)) / a.std(0) for a in (x, y))
    gram, cross = correlations(x, y)
    for layer in lasso_path(gram, cross, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]):
        assert kkt_residual(gram, cross, layer) <= 1e-6
        assert layer.duality_gap <= 2e-6


@pytest.mark.parametrize("samples", [300, 12])
def test_decay_0_is_least_squares_of_minimum_norm(samples: int) -> None:
    x, y = nets(5, samples=samples)
    layer = lasso_path(*correlations(x, y), [0])[0]
    np.testing.assert_allclose(layer.weights, np.linalg.lstsq(x, y, rcond=1e-7)[0].T, atol=1e-6)
    assert layer.duality_gap < 1e-12
    if samples < 20:
        assert layer.loss == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_singular_matrices_in_single_precision(dtype: type) -> None:
    x, y = nets(6, samples=12)
    gram, cross = correlations(x, y)
    gram, cross = gram.astype(dtype), cross.astype(dtype)
    for layer in lasso_path(gram, cross, PAPER):
        assert kkt_residual(gram, cross, layer) < 1e-5
        assert np.abs(layer.weights).max() < 10
        assert -1e-5 < layer.loss <= 0.5


def test_quantised_matrices_with_negative_eigenvalues() -> None:
    x, y = nets(7, sources=60, samples=30)
    gram, cross = (np.round(a * 127) / 127 for a in correlations(x, y))
    np.fill_diagonal(gram, 1)
    assert np.linalg.eigvalsh(gram)[0] < -0.01
    layers = lasso_path(gram, cross, PAPER)
    problem = make_problem(gram, cross.T)
    assert np.linalg.eigvalsh(problem.gram)[0] > -1e-12
    assert np.linalg.norm(problem.gram - gram, 2) < 0.1
    for layer in layers:
        assert kkt_residual(problem.gram, problem.right.T, layer) <= 1e-6
        assert np.isfinite(layer.weights).all()
    losses = [layer.loss for layer in layers]
    assert losses == sorted(losses)


def test_published_conv1_weights_are_no_better() -> None:
    gram, cross = conv1()
    layers = lasso_path(gram, cross, PAPER)
    for layer in layers:
        assert kkt_residual(gram, cross, layer) <= 1e-6
        assert layer.duality_gap <= 1e-6
    for name, layer in (("1e-3", layers[3]), ("1e-2.6", layers[4])):
        published = np.load(PUBLISHED / f"mapping_conv1_decay{name}.npy").astype(np.float64)
        ours = objective(gram, cross, layer.weights, layer.alpha)
        assert (ours < objective(gram, cross, published, layer.alpha)).all()
    # Table 1 reads 0.170, 0.169, 0.162, 0.172 and (in the text) 0.235, with 4.7 units.
    losses = [layer.loss for layer in layers]
    np.testing.assert_allclose(losses[:5], [0.103, 0.104, 0.112, 0.155, 0.211], atol=1e-3)
    assert losses == sorted(losses)
    assert layers[4].units_used() == pytest.approx(2.7, abs=0.05)


def test_dead_units_are_set_apart() -> None:
    x, y = nets(8)
    gram, cross = correlations(x, y)
    live_a, live_b = np.delete(np.arange(20), [3, 11]), np.delete(np.arange(15), [0, 7])
    reference = lasso_path(gram[np.ix_(live_a, live_a)], cross[np.ix_(live_a, live_b)], np.array([0, 0.01]) * 15 / 13)
    gram[3], gram[:, 3], cross[3] = np.nan, np.nan, np.nan
    gram[11], gram[:, 11], cross[11] = 0, 0, 0
    cross[:, [0, 7]] = np.nan
    for layer, without in zip(lasso_path(gram, cross, [0, 0.01]), reference, strict=True):
        np.testing.assert_allclose(layer.weights[np.ix_(live_b, live_a)], without.weights, atol=1e-12)
        assert not layer.weights[:, [3, 11]].any()
        assert not layer.weights[[0, 7]].any()
        for values in (layer.target_loss, layer.target_r2, layer.target_gap, layer.target_units_used()):
            np.testing.assert_array_equal(np.isnan(values), np.isin(np.arange(15), [0, 7]))
        assert (layer.loss, layer.r2) == pytest.approx((without.loss, without.r2))
        assert layer.units_used() == without.units_used()


def test_layers_of_dead_units_only() -> None:
    x, y = nets(9)
    gram, cross = correlations(x, y)
    no_source = lasso_path(np.full_like(gram, np.nan), np.full_like(cross, np.nan), [0, 0.1])
    no_target = lasso_path(gram, np.full_like(cross, np.nan), [0, 0.1])
    for layer in no_source + no_target:
        assert not layer.weights.any()
        assert np.isnan([layer.loss, layer.r2, layer.units_used()]).all()
        assert layer.duality_gap == 0


# Theorems


def test_permuted_units_give_permuted_weights() -> None:
    rng = np.random.default_rng(0)
    x, y = nets(10)
    a, b = rng.permutation(20), rng.permutation(15)
    layers = lasso_path(*correlations(x, y), [0, 1e-4, 1e-2])
    for layer, permuted in zip(layers, lasso_path(*correlations(x[:, a], y[:, b]), [0, 1e-4, 1e-2]), strict=True):
        np.testing.assert_allclose(permuted.weights, layer.weights[np.ix_(b, a)], atol=1e-6)


def test_a_mirrored_unit_mirrors_its_weights() -> None:
    x, y = nets(11)
    layer, mirrored = (lasso_path(*correlations(z, y), [1e-3])[0] for z in (x, x * np.where(np.arange(20) == 4, -1, 1)))
    np.testing.assert_allclose(mirrored.weights[:, 4], -layer.weights[:, 4], atol=1e-9)
    assert mirrored.loss == pytest.approx(layer.loss)


def test_decays_in_any_order_repeated_or_alone() -> None:
    gram, cross = correlations(*nets(12))
    decays = [1e-3, 0.0, 0.1, 1e-5, 1e-3]
    layers = lasso_path(gram, cross, decays)
    assert [layer.decay for layer in layers] == decays
    for layer in layers:
        alone = lasso_path(gram, cross, [layer.decay])[0]
        np.testing.assert_allclose(alone.weights, layer.weights, atol=1e-7)
    assert lasso_path(gram, cross, []) == []


def test_loss_rises_and_penalty_falls_with_the_decay() -> None:
    gram, cross = correlations(*nets(13))
    layers = lasso_path(gram, cross, np.geomspace(1e-6, 0.1, 12))
    losses = np.array([layer.target_loss for layer in layers])
    norms = np.array([np.abs(layer.weights).sum(1) for layer in layers])
    assert (np.diff(losses, axis=0) >= -1e-9).all()
    assert (np.diff(norms, axis=0) <= 1e-9).all()
    assert not layers[-1].weights.any()
    assert layers[-1].loss == 0.5


def test_threads_do_not_change_a_bit_and_progress_counts_targets() -> None:
    gram, cross = correlations(*nets(14, targets=50))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            calls: list[tuple[int, int]] = []
            layers = lasso_path(gram, cross, [1e-4, 1e-3], progress=lambda *done: calls.append(done))  # noqa: B023
            results.append(np.array([layer.weights for layer in layers]))
            assert calls[-1] == (50, 50)
            assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(results[0], results[1])


# The certificate


@given(seed=st.integers(0, 10_000), alpha=st.floats(0, 1), scale=st.sampled_from([0.0, 1e-6, 1e-2, 1.0]))
def test_the_gap_is_never_below_the_distance_to_the_optimum(seed: int, alpha: float, scale: float) -> None:
    gram, cross = correlations(*nets(seed, 12, 5))
    best = lasso_path(gram, cross, [alpha / 5], tolerance=1e-10)[0]
    noise = np.random.default_rng(seed).standard_normal(best.weights.shape)
    weights = best.weights + scale * noise * (best.weights != 0)
    excess = objective(gram, cross, weights, alpha) - objective(gram, cross, best.weights, alpha)
    problem = make_problem(gram, cross.T)
    gaps = problem.duality_gaps(weights, problem.gradient(weights), alpha)
    assert (gaps >= excess - 1e-12).all()
    if scale == 0:
        assert (gaps < 1e-9).all()
    if alpha == 0:
        np.testing.assert_allclose(gaps, excess, atol=1e-10)


def test_what_was_not_reached_is_said() -> None:
    gram, cross = correlations(*nets(15))
    with pytest.warns(ConvergenceWarning, match="duality gap of .* above the tolerance 1e-30"):
        lasso_path(gram, cross, [1e-3], tolerance=1e-30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lasso_path(gram, cross, PAPER)


# Searching a decay


def test_a_decay_is_found_for_a_sparsity_or_a_loss() -> None:
    gram, cross = conv1()
    sparse = find_decay(gram, cross, units_used=4.7)
    assert sparse.units_used() == pytest.approx(4.7, abs=1 / 96)
    assert 1e-3 < sparse.decay < 10**-2.6
    lossy = find_decay(gram, cross, loss=0.235)
    assert lossy.loss == pytest.approx(0.235, abs=1e-5)
    assert lasso_path(gram, cross, [lossy.decay])[0].loss == pytest.approx(lossy.loss, abs=1e-6)
    assert find_decay(gram, cross, loss=0.5).units_used() == 0
    nearly_dense = lasso_path(gram, cross, [1e-10])[0].loss
    assert find_decay(gram, cross, loss=nearly_dense).decay == pytest.approx(1e-10, rel=0.1)
    dense = lasso_path(gram, cross, [0])[0]
    assert find_decay(gram, cross, units_used=dense.units_used()).loss == pytest.approx(dense.loss, abs=1e-3)


def test_a_decay_that_does_not_exist_is_refused() -> None:
    gram, cross = conv1()
    with pytest.raises(ValueError, match="no decay reaches loss = 0.05: the range is 0.103.* to 0.5"):
        find_decay(gram, cross, loss=0.05)
    with pytest.raises(ValueError, match="no decay reaches units_used = 97"):
        find_decay(gram, cross, units_used=97)
    mistakes: list[dict[str, Any]] = [{}, {"loss": 0.2, "units_used": 3.0}]
    for wrong in mistakes:
        with pytest.raises(ValueError, match="give exactly one of units_used and loss"):
            find_decay(gram, cross, **wrong)


# Refusals


def test_malformed_input_is_named() -> None:
    gram, cross = correlations(*nets(16))
    stray, lopsided = gram.copy(), gram.copy()
    stray[2, 5] = np.nan
    lopsided[2, 5] += 1e-3
    hole = cross.copy()
    hole[2, 5] = np.nan
    cases = [
        (gram[:, :5], cross, r"found shapes \(20, 5\) and \(20, 15\)"),
        (gram, cross[:19], "found shapes"),
        (gram, cross[:, 0], "found shapes"),
        (stray, cross, "source_correlation has NaN or infinite entries between live units"),
        (gram, hole, "cross_correlation has NaN"),
        (lopsided, cross, "must be symmetric with ones on the diagonal"),
        (-gram, cross, "must be symmetric with ones on the diagonal"),
    ]
    for source, between, message in cases:
        with pytest.raises(ValueError, match=message):
            lasso_path(source, between, [1e-3])
    for decays in ([-1e-3], [np.nan], [[1.0], [2.0]]):
        with pytest.raises(ValueError, match="decays must be a list of numbers, each 0 or more"):
            lasso_path(gram, cross, decays)
    for tolerance in (0, -1, np.nan):
        with pytest.raises(ValueError, match="tolerance is .*; it must be above 0"):
            lasso_path(gram, cross, [1e-3], tolerance=tolerance)
