"""Mapping layers from mixtures of units: the same where all are used, worse where few are, right at any sparsity."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.analysis.mapping import find_decay, lasso_path
from raycv.analysis.sparsity import loss_with_as_many, rotated_sources
from tests.support.activations import correlations, nets
from tests.support.copies import copied, pair, z_scores

DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)


def test_rotated_sources_are_correlated_as_explicit_mixtures() -> None:
    x, y = nets(0)
    q, r = np.linalg.qr(np.random.default_rng(7).standard_normal((20, 20)))
    mixtures = z_scores(x) @ (q * np.sign(np.diagonal(r)))
    cross, within = pair(y, mixtures)
    found = rotated_sources(*correlations(x, y), seed=7)
    np.testing.assert_allclose(found[0], within, atol=1e-10)
    np.testing.assert_allclose(found[1], cross.T, atol=1e-10)


def test_dead_units_are_in_no_mixture() -> None:
    within, cross = correlations(*nets(1))
    expected = rotated_sources(within[2:, 2:], cross[2:, 1:], seed=3)
    within[:2], within[:, :2], cross[:2], cross[:, 0] = np.nan, np.nan, np.nan, np.nan
    found = rotated_sources(within, cross, seed=3)
    np.testing.assert_allclose(found[0][2:, 2:], expected[0], atol=1e-12)
    np.testing.assert_allclose(found[1][2:, 1:], expected[1], atol=1e-12)
    assert np.isnan(found[0][:2]).all()
    assert np.isnan(found[0][:, :2]).all()
    assert np.isnan(found[1][:2]).all()
    assert np.isnan(found[1][:, 0]).all()


@pytest.mark.parametrize("seed", range(3))
def test_all_mixtures_together_predict_what_all_units_predict(seed: int) -> None:
    within, cross = correlations(*nets(seed))
    layers = lasso_path(within, cross, DECAYS)
    found = loss_with_as_many(*rotated_sources(within, cross, seed=seed), layers)
    assert found[0] == pytest.approx(layers[0].loss, abs=1e-9)
    assert (np.diff(found) > -1e-9).all()


def test_few_units_of_a_copy_predict_more_than_as_few_mixtures_unless_it_was_rotated() -> None:
    """Of a copied network, one unit each predicts all; of a rotated one, units are mixtures as good as any."""
    for share, excess in ((1.0, 0.1), (0.0, 0.0)):
        cross, within = pair(*copied(0, share=share, noise=0.3, mixing=0.0))
        within, cross = np.eye(40) if not share else within, cross.T
        layers = lasso_path(within, cross, DECAYS)
        assert layers[3].units_used() < 25
        more = loss_with_as_many(*rotated_sources(within, cross, seed=1), layers) - [layer.loss for layer in layers]
        assert more[3] == pytest.approx(excess, abs=0.01) if not share else more[3] > excess


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_that_of_the_decay_that_uses_as_many(seed: int) -> None:
    within, cross = correlations(*nets(seed, sources=40, targets=30))
    sources = rotated_sources(within, cross, seed=seed)
    layers = lasso_path(within, cross, (1e-3, 3e-3, 1e-2))
    found = loss_with_as_many(*sources, layers)
    expected = [find_decay(*sources, units_used=layer.units_used()).loss for layer in layers]
    np.testing.assert_allclose(found, expected, atol=0.005)


def test_a_layers_own_sources_give_its_own_loss() -> None:
    within, cross = correlations(*nets(2))
    layers = lasso_path(within, cross, DECAYS)
    np.testing.assert_allclose(loss_with_as_many(within, cross, layers), [layer.loss for layer in layers], atol=0.005)


def test_there_is_no_loss_without_live_units_to_predict() -> None:
    within, cross = correlations(*nets(0))
    for matrices in (
        (within, np.full_like(cross, np.nan)),
        (np.full_like(within, np.nan), np.full_like(cross, np.nan)),
    ):
        found = loss_with_as_many(*rotated_sources(*matrices, seed=0), lasso_path(*matrices, DECAYS))
        assert np.isnan(found).all()
