"""Held-out error from moments: sklearn on the raw activations, and theorems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error
from sklearn.preprocessing import StandardScaler

from raycv.analysis.arrays import Floats
from raycv.analysis.mapping import lasso_path
from raycv.analysis.sgd import sgd_path
from raycv.statistics.heldout import HeldOut, PairMoments, cross_validate
from tests.support.activations import nets

DECAYS = [0.0, 1e-3, 1e-2]


def moments(x: Floats, y: Floats) -> PairMoments:
    a, b = x - x.mean(0), y - y.mean(0)
    return PairMoments(x.mean(0), y.mean(0), a.T @ a / len(x), a.T @ b / len(x), y.var(0))


def activations(seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x, y = nets(seed, samples=400)
    drift = np.linspace(0, 0.5, 400)[:, None]  # so that folds have different means
    return (x + drift) * rng.uniform(0.1, 9, 20) + 3, (y + drift) * rng.uniform(0.1, 9, 15) - 1


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_raw_activations(seed: int) -> None:
    x, y = activations(seed)
    folds = np.array_split(np.arange(400), 4)
    rest = [np.setdiff1d(np.arange(400), fold) for fold in folds]
    found = cross_validate([moments(x[r], y[r]) for r in rest], [moments(x[f], y[f]) for f in folds], DECAYS)
    assert [held.decay for held in found] == DECAYS
    for i, held in enumerate(found):
        for k, (fit, fold) in enumerate(zip(rest, folds, strict=True)):
            source, target = StandardScaler().fit(x[fit]), StandardScaler().fit(y[fit])
            z, t = source.transform(x[fit]), target.transform(y[fit])
            weights = lasso_path(z.T @ z / len(z), z.T @ t / len(z), DECAYS)[i].weights
            predicted, true = source.transform(x[fold]) @ weights.T, target.transform(y[fold])
            error = ((predicted - true) ** 2).mean(0) * y[fit].var(0)
            np.testing.assert_allclose(held.fold_error[k], error, rtol=1e-7)
            nothing = DummyRegressor().fit(x[fit], y[fit]).predict(x[fold])
            spread = mean_squared_error(y[fold], nothing, multioutput="raw_values")
            np.testing.assert_allclose(held.fold_spread[k], spread, rtol=1e-7)
        np.testing.assert_allclose(held.fold_loss, held.fold_error / held.fold_spread.mean(0) / 2)
        assert held.loss == pytest.approx(held.fold_loss.mean())
        interval = ttest_1samp(held.fold_loss.mean(1), 0).confidence_interval(0.95)
        assert (held.loss_interval.low, held.loss_interval.high) == pytest.approx((interval.low, interval.high))


def test_without_a_penalty_it_is_the_error_of_linear_regression_over_that_of_the_mean() -> None:
    x, y = activations(3)
    folds = np.array_split(np.arange(400), 4)
    rest = [np.setdiff1d(np.arange(400), fold) for fold in folds]
    fits, scored = ([moments(x[r], y[r]) for r in parts] for parts in (rest, folds))
    squares = {}
    for model in (LinearRegression(), DummyRegressor()):
        errors = [(model.fit(x[r], y[r]).predict(x[f]) - y[f]) ** 2 for r, f in zip(rest, folds, strict=True)]
        squares[type(model)] = np.concatenate(errors).sum(0)
    dense, nothing = cross_validate(fits, scored, [0, 100])
    expected = squares[LinearRegression] / squares[DummyRegressor]
    np.testing.assert_allclose(dense.target_r2, 1 - expected, atol=1e-7)
    np.testing.assert_allclose(dense.target_loss, expected / 2, atol=1e-7)
    np.testing.assert_allclose(nothing.target_loss, 0.5, rtol=1e-9)  # although the folds have other means


def test_scored_on_the_images_of_the_fit_it_is_the_fitted_loss() -> None:
    whole = moments(*activations(4))
    held = cross_validate([whole], [whole], DECAYS)
    for scored, fitted in zip(held, lasso_path(*whole.correlations(), DECAYS), strict=True):
        np.testing.assert_allclose(scored.fold_loss[0], fitted.target_loss, atol=1e-10)
        np.testing.assert_allclose(scored.target_r2, fitted.target_r2, atol=1e-10)
        assert scored.r2 == pytest.approx(fitted.r2)
        assert np.isnan([scored.loss_interval.low, scored.loss_interval.high]).all()


def test_a_dense_fit_of_few_images_does_worse_on_others_than_a_sparse_one() -> None:
    x, y = nets(5, samples=20_000)
    fits = [moments(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    dense, sparse = cross_validate(fits, [moments(x[1000:], y[1000:])] * 3, [0, 3e-3])
    assert sparse.loss < dense.loss
    fitted = lasso_path(*fits[0].correlations(), [0])[0]
    assert fitted.loss < dense.loss


def test_units_without_a_predictor_are_named_and_units_that_do_not_vary_set_apart() -> None:
    x, y = activations(6)
    y[:, 3] = np.random.default_rng(0).standard_normal(400)
    y[:, 7] = 2.5
    x[:, 1] = -1.0
    halves = [moments(x[:200], y[:200]), moments(x[200:], y[200:])]
    for solver in (lasso_path, sgd_path):
        held = cross_validate(halves[::-1], halves, [1e-3], solver)[0]
        assert held.unpredicted()[3]
        assert not held.unpredicted()[7]
        np.testing.assert_array_equal(np.isnan(held.target_r2), np.arange(15) == 7)
        assert np.isfinite([held.loss, held.r2]).all()
        np.testing.assert_array_equal(held.unpredicted(2.0), np.arange(15) != 7)


def test_folds_must_have_their_fits() -> None:
    whole = moments(*activations(8))
    for fits, folds in (([], []), ([whole], [whole, whole])):
        with pytest.raises(ValueError, match="every fold needs the moments of the other images"):
            cross_validate(fits, folds, [0])
    assert HeldOut(0, np.ones((2, 1)), np.ones((2, 1))).r2 == 0
