"""The rotated null against explicit z-scores and rotations, and on copies of which it is known what was rotated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LinearRegression

from raycv.analysis.nulls import (
    best_correlation,
    effective_dimension,
    excess,
    one_unit_share,
    orthonormal,
    rotated,
    rotated_matching,
    rotations_for,
    scaled,
)
from tests.support.activations import correlations, nets
from tests.support.copies import copied, pair, z_scores


def test_it_is_the_best_correlation_with_explicitly_rotated_activations() -> None:
    x, y = nets(0)
    generator = np.random.default_rng(7)
    expected = []
    for _ in range(4):
        q, r = np.linalg.qr(generator.standard_normal((15, 15)))
        mixtures = z_scores(y) @ (q * np.sign(np.diagonal(r)))
        expected.append(np.abs(np.corrcoef(x, mixtures, rowvar=False)[:20, 20:]).max(1))
    found = rotated(*pair(x, y), rotations=4, seed=7)
    np.testing.assert_allclose(found.values, expected, atol=1e-10)
    np.testing.assert_allclose(found.unit_mean, np.mean(expected, axis=0))
    assert found.mean == pytest.approx(np.mean(expected))
    assert found.error == pytest.approx(np.std(np.mean(expected, axis=1), ddof=1) / 2)
    assert found.of(slice(3, 5)).mean == pytest.approx(np.mean(np.array(expected)[:, 3:5]))


@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_of_covariances_it_is_that_of_mixed_activations_or_z_scores_whichever_is_larger(scale: float) -> None:
    """One strong direction is weaker in z-scores; a unit of a scale of its own outweighs all others in activations."""
    rng = np.random.default_rng(3)
    x, y = nets(0)
    y = y @ orthonormal(torch.from_numpy(rng.standard_normal((15, 15)))).numpy() * scale ** rng.standard_normal(15)
    generator = np.random.default_rng(7)
    draws = []
    for _ in range(4):
        q, r = np.linalg.qr(generator.standard_normal((15, 15)))
        mixtures = [values @ (q * np.sign(np.diagonal(r))) for values in (z_scores(y), y - y.mean(0))]
        draws.append([np.abs(np.corrcoef(x, mixed, rowvar=False)[:20, 20:]).max(1) for mixed in mixtures])
    larger = np.mean(draws, axis=(0, 2)).argmax()
    cross, within = pair(x, y)
    found = rotated(cross, scaled(within, y.std(0)), rotations=4, seed=7)
    np.testing.assert_allclose(found.values, np.array(draws)[:, larger], atol=1e-9)
    by_torch = rotated(cross, scaled(within, y.std(0)), rotations=4, seed=7, device="cpu")
    np.testing.assert_allclose(by_torch.values, found.values, atol=1e-9)


def equivariant(seed: int) -> np.ndarray:
    """(2000, 24): the hidden layer of a network trained by gradient descent whose units are gated by their norm.

    Such a non-linearity commutes with rotations, and so does training: no unit is more of a unit than any mixture.
    """
    shared, own = torch.Generator().manual_seed(1), torch.Generator().manual_seed(100 + seed)
    x = torch.randn(2000, 16, generator=shared) * 0.85 ** torch.arange(16)
    labels = (torch.tanh(x @ torch.randn(16, 8, generator=shared)) @ torch.randn(8, 5, generator=shared)).argmax(1)
    weights = [torch.randn(16, 24, generator=own) / 4, torch.randn(24, 5, generator=own) / 24**0.5]
    weights = [matrix.requires_grad_() for matrix in weights]

    def hidden() -> torch.Tensor:
        mixed = x @ weights[0]
        return mixed * torch.sigmoid(3 * (mixed.norm(dim=1, keepdim=True) / 24**0.5 - 0.6))

    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(hidden() @ weights[1], labels)
        with torch.no_grad():
            for matrix, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                matrix -= 0.3 * gradient
    values: np.ndarray = hidden().detach().double().numpy()
    return values


def test_networks_that_commute_with_rotations_have_no_excess() -> None:
    networks = [equivariant(seed) for seed in range(8)]
    found = np.full((2, 8, 8), np.nan)
    for n, a in enumerate(networks):
        for m, b in enumerate(networks):
            if n != m:
                cross, within = pair(a, b)
                for kind, given in enumerate((scaled(within, b.std(0)), within)):
                    found[kind, n, m] = excess(cross, rotated(cross, given, rotations=8, seed=n)).mean
    without = [np.nanmean(np.delete(np.delete(found, n, 1), n, 2), axis=(1, 2)) for n in range(8)]
    errors = np.sqrt(7 / 8 * np.square(np.array(without) - np.mean(without, axis=0)).sum(0))
    of_both, of_z_scores = np.nanmean(found, axis=(1, 2))
    assert abs(of_both) < 2 * errors[0]
    assert of_z_scores > of_both + 0.003


@pytest.mark.parametrize("size", [1, 2, 30, 200])
def test_rotations_are_orthonormal_and_those_of_qr(size: int) -> None:
    normal = np.random.default_rng(size).standard_normal((size, size))
    q, r = np.linalg.qr(normal)
    found = orthonormal(torch.from_numpy(normal)).numpy()
    np.testing.assert_allclose(found.T @ found, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(found, q * np.sign(np.diagonal(r)), atol=1e-9)


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_a_rotated_copy_has_no_excess(mixing: float) -> None:
    found = []
    for seed in range(20):
        cross, within = pair(*copied(seed, units=60, share=0, mixing=mixing))
        found.append(excess(cross, rotated(cross, within, seed=seed)).mean)
    assert abs(np.mean(found)) < 3 * np.std(found, ddof=1) / np.sqrt(20)
    assert np.abs(found).max() < 0.035


def test_a_renumbered_copy_has_all_the_excess_there_can_be() -> None:
    a, b = copied(1)
    cross, within = pair(a, -b[:, np.random.default_rng(0).permutation(40)])
    null = rotated(cross, within)
    found, share = excess(cross, null), one_unit_share(cross, within, null)
    np.testing.assert_allclose(found.best, 1)
    np.testing.assert_allclose(found.units, 1 - null.unit_mean)
    assert found.mean == pytest.approx(1 - null.mean)
    assert found.mean > 0.4
    assert share.mean == pytest.approx(1)
    np.testing.assert_allclose(share.units, 1)


def test_units_of_a_half_rotated_copy_differ() -> None:
    cross, within = pair(*copied(2, units=60, share=0.5, noise=0.3))
    found = excess(cross, rotated(cross, within)).units
    assert found[:30].min() > found[30:].max() + 0.1


def test_the_share_of_one_unit_is_that_of_regressions_on_the_activations() -> None:
    x, y = nets(3)
    cross, within = pair(x, y)
    null = rotated(cross, within)
    found = one_unit_share(cross, within, null)
    for i in range(20):
        alone = [LinearRegression().fit(y[:, [j]], x[:, i]).score(y[:, [j]], x[:, i]) for j in range(15)]
        assert found.best[i] == pytest.approx(max(alone))
        assert found.linear[i] == pytest.approx(LinearRegression().fit(y, x[:, i]).score(y, x[:, i]))
    np.testing.assert_allclose(found.rotated, np.mean(null.values**2, axis=0))
    means = found.best.mean() - found.rotated.mean(), found.linear.mean() - found.rotated.mean()
    assert found.mean == pytest.approx(means[0] / means[1])
    assert 0 < found.mean < 1


@given(st.integers(0, 2**16))
def test_neither_scale_and_sign_nor_the_order_of_units_matters(seed: int) -> None:
    """Exactly for the units of a and the scale of b; nearly for order and signs in b, which meet other mixtures."""
    rng = np.random.default_rng(seed)
    x, y = nets(seed % 7)
    plain = rotated(*pair(x, y), seed=seed)
    order, scale = rng.permutation(20), rng.uniform(0.1, 9, 20) * rng.choice([-1, 1], 20)
    moved = rotated(*pair(x[:, order] * scale, y * rng.uniform(0.1, 9, 15) + 3), seed=seed)
    np.testing.assert_allclose(moved.values, plain.values[:, order], atol=1e-9)
    other = rotated(*pair(x, y[:, rng.permutation(15)] * rng.choice([-1, 1], 15)), seed=seed)
    assert abs(other.mean - plain.mean) < 6 * np.hypot(plain.error, other.error)


def test_the_networks_of_all_pairs_may_share_the_rotations() -> None:
    x, y = nets(4)
    cross, within = pair(x, y)
    both = rotated(cross, within, seed=3)
    np.testing.assert_allclose(both.of(slice(0, 8)).values, rotated(cross[:8], within, seed=3).values, atol=1e-12)


def test_dead_units_are_nan_and_change_nothing() -> None:
    x, y = nets(5)
    within, cross = correlations(y, x)
    plain = rotated(cross.T, within, seed=1)
    wide, square = np.insert(cross.T, 4, np.nan, axis=1), np.insert(np.insert(within, 4, np.nan, 0), 4, np.nan, 1)
    wide = np.insert(wide, 2, np.nan, axis=0)
    found = rotated(wide, square, seed=1)
    assert np.isnan(found.values[:, 2]).all()
    np.testing.assert_array_equal(np.delete(found.values, 2, 1), plain.values)
    assert found.mean == pytest.approx(plain.mean)
    assert excess(wide, found).mean == pytest.approx(excess(cross.T, plain).mean)
    assert one_unit_share(wide, square, found).mean == pytest.approx(one_unit_share(cross.T, within, plain).mean)
    assert effective_dimension(square) == pytest.approx(effective_dimension(within))


def test_everything_dead() -> None:
    cross, within = np.full((3, 2), np.nan), np.full((2, 2), np.nan)
    null = rotated(cross, within)
    assert np.isnan([null.mean, null.error, excess(cross, null).mean, one_unit_share(cross, within, null).mean]).all()
    assert np.isnan(effective_dimension(within))
    assert np.isnan(best_correlation(np.zeros((2, 0)))).all()


def test_the_effective_dimension_of_known_spectra() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    for values, dimension in (([1] * 6, 6), ([5, 0, 0, 0, 0, 0], 1), ([2, 1, 1, 0, 0, 0], 16 / 6)):
        assert effective_dimension((basis * values) @ basis.T) == pytest.approx(dimension)


def test_wide_layers_get_fewer_rotations() -> None:
    assert [rotations_for(n) for n in (96, 1024, 1025)] == [20, 20, 5]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"cross must be \(S_a, S_b\) and within \(S_b, S_b\)"):
        rotated(np.zeros((3, 4)), np.eye(3))
    with pytest.raises(ValueError, match="must be finite"):
        rotated(np.array([[0.1, np.nan], [0.2, 0.3]]), np.eye(2))
    with pytest.raises(ValueError, match="at least 2 rotations"):
        rotated(np.zeros((3, 3)), np.eye(3), rotations=1)


def test_a_matching_with_rotated_units_equals_scipy() -> None:
    a, b = copied(3, units=20, samples=600)
    cross, within = pair(a, b)
    found = rotated_matching(cross, within, seed=7)
    generator = np.random.default_rng(7)
    for mean in found:
        q, r = np.linalg.qr(generator.standard_normal((20, 20)))
        rotated_units = z_scores(b) @ (q * np.sign(np.diagonal(r)))
        sizes = np.abs(np.corrcoef(a, rotated_units, rowvar=False)[:20, 20:])
        assert mean == pytest.approx(sizes[linear_sum_assignment(-sizes)].mean(), abs=1e-9)
    assert len(found) == 5
    assert np.isnan(rotated_matching(np.full((3, 3), np.nan), np.full((3, 3), np.nan))).all()
