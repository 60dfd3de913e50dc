"""Every measure against its definition on the raw activations, and what it must not depend on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.alignment import NormProducts, cross_fold_cka, debiased_cka, linear_cka
from raycv.analysis.measures.canonical import canonical_correlations, mean_cca, pwcca, svcca
from raycv.analysis.measures.covariances import Covariances
from raycv.analysis.measures.norms import NormSums
from raycv.analysis.measures.prediction import regression_r2
from raycv.analysis.measures.shapes import (
    angular_distance,
    permutation_angular_distance,
    permutation_procrustes_distance,
    procrustes_distance,
)
from raycv.analysis.measures.units import (
    hard_correlation_match,
    mixed,
    partial_matching_score,
    soft_correlation_match,
    soft_matching_distance,
    soft_matching_score,
)
from tests.support.copies import orthonormal, z_scores

WIDTHS = [(7, 7), (8, 5), (5, 8)]


def activations(seed: int, s_a: int = 7, s_b: int = 5, samples: int = 200) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((samples, 6))
    x, y = (signals @ rng.standard_normal((6, s)) + rng.standard_normal((samples, s)) for s in (s_a, s_b))
    return x * rng.uniform(0.5, 3, s_a) + 2, y * rng.uniform(0.5, 3, s_b) - 1


def covariances(x: Floats, y: Floats) -> Covariances:
    both = np.cov(x, y, rowvar=False, bias=True)
    s_a = x.shape[1]
    return Covariances.of(both[:s_a, :s_a], both[:s_a, s_a:], both[s_a:, s_a:])


def centred(x: Floats) -> Floats:
    return np.asarray(x - x.mean(0))


def padded(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Centred, with silent units added to the narrower one."""
    width = max(x.shape[1], y.shape[1])
    a, b = (np.pad(centred(z), ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    return a, b


def raw_cka(x: Floats, y: Floats) -> float:
    """tr(KHLH) / sqrt(tr(KHKH) tr(LHLH)) of the Gram matrices of the samples."""
    h = np.eye(len(x)) - 1 / len(x)
    k, l = h @ x @ x.T @ h, h @ y @ y.T @ h  # noqa: E741
    return float(np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l)))


def raw_cca(x: Floats, y: Floats) -> Floats:
    """By orthonormal bases of the centred activations (Björck & Golub, 1973)."""
    bases = [np.linalg.qr(centred(z))[0] for z in (x, y)]
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


def raw_svcca(x: Floats, y: Floats) -> float:
    """By sklearn's PCA, which keeps the fewest components above the share."""
    kept = [PCA(n_components=0.9, svd_solver="full").fit_transform(z) for z in (x, y)]
    return float(raw_cca(*kept).mean())


def raw_pwcca(x: Floats, y: Floats) -> float:
    if x.shape[1] > y.shape[1]:
        x, y = y, x
    (q, _), (p, _) = np.linalg.qr(centred(x)), np.linalg.qr(centred(y))
    left, values, _ = np.linalg.svd(q.T @ p, full_matrices=False)
    weights = np.abs((q @ left).T @ centred(x)).sum(1)
    return float((weights * values).sum() / weights.sum())


def raw_procrustes(x: Floats, y: Floats) -> float:
    a, b = padded(x, y)
    q, _ = orthogonal_procrustes(b, a)
    return float(np.linalg.norm(a - b @ q) / np.sqrt(len(x)))


def raw_angular(x: Floats, y: Floats) -> float:
    a, b = padded(x, y)
    turned = b @ orthogonal_procrustes(b, a)[0]
    return float(np.arccos((a * turned).sum() / np.linalg.norm(a) / np.linalg.norm(b)))


def raw_permutation(x: Floats, y: Floats) -> float:
    a, b = padded(x, y)
    rows, columns = linear_sum_assignment(cdist(a.T, b.T, "sqeuclidean"))
    return float(np.linalg.norm(a[:, rows] - b[:, columns]) / np.sqrt(len(x)))


def raw_permutation_angular(x: Floats, y: Floats) -> float:
    a, b = padded(x, y)
    rows, columns = linear_sum_assignment(cdist(a.T, b.T, "sqeuclidean"))
    return float(np.arccos((a[:, rows] * b[:, columns]).sum() / np.linalg.norm(a) / np.linalg.norm(b)))


def raw_regression(x: Floats, y: Floats) -> float:
    left = y - LinearRegression().fit(x, y).predict(x)
    return float(1 - left.var(0).sum() / y.var(0).sum())


def raw_soft_distance(x: Floats, y: Floats) -> float:
    """The whole transport program between the z-scores of the units, as points with one coordinate a sample."""
    costs = cdist(z_scores(x).T, z_scores(y).T, "sqeuclidean") / len(x)
    m, n = costs.shape
    sums = np.vstack([np.kron(np.eye(m), np.ones(n)), np.kron(np.ones(m), np.eye(n))])
    solved = linprog(costs.ravel(), A_eq=sums, b_eq=np.concatenate([np.full(m, 1 / m), np.full(n, 1 / n)]))
    assert solved.fun is not None
    return float(np.sqrt(solved.fun))


def raw_partial(x: Floats, y: Floats) -> float:
    r = np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :]
    m, n = r.shape
    limits = np.vstack([np.kron(np.eye(m), np.ones(n)), np.kron(np.ones(m), np.eye(n))])
    most = np.concatenate([np.full(m, 1 / m), np.full(n, 1 / n)])
    solved = linprog(-r.ravel(), A_ub=limits, b_ub=most, A_eq=np.ones((1, m * n)), b_eq=[0.4])
    assert solved.fun is not None
    return -solved.fun / 0.4


def raw_hard(x: Floats, y: Floats) -> float:
    """Over all one-to-one choices."""
    r = np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :]
    r = r if len(r) <= len(r.T) else r.T
    return max(float(r[range(len(r)), list(p)].mean()) for p in itertools.permutations(range(len(r.T)), len(r)))


def raw_soft(x: Floats, y: Floats) -> float:
    r = [[np.corrcoef(a, b)[0, 1] for b in y.T] for a in x.T]
    return float((np.mean([max(row) for row in r]) + np.mean([max(column) for column in zip(*r, strict=True)])) / 2)


DEFINITIONS: dict[str, tuple[Callable[[Covariances], float], Callable[[Floats, Floats], float]]] = {
    "linear CKA": (linear_cka, raw_cka),
    "mean CCA": (mean_cca, lambda x, y: float(raw_cca(x, y).mean())),
    "SVCCA": (partial(svcca, kept=0.9), raw_svcca),
    "PWCCA": (pwcca, raw_pwcca),
    "Procrustes": (procrustes_distance, raw_procrustes),
    "angular": (angular_distance, raw_angular),
    "permutation Procrustes": (permutation_procrustes_distance, raw_permutation),
    "permutation angular": (permutation_angular_distance, raw_permutation_angular),
    "regression": (regression_r2, raw_regression),
    "regression back": (lambda c: regression_r2(c.reversed()), lambda x, y: raw_regression(y, x)),
    "soft matching": (soft_matching_distance, raw_soft_distance),
    "soft matching score": (soft_matching_score, lambda x, y: 1 - raw_soft_distance(x, y) ** 2 / 2),
    "partial matching": (partial(partial_matching_score, mass=0.4), raw_partial),
    "hard correlation": (hard_correlation_match, raw_hard),
    "soft correlation": (soft_correlation_match, raw_soft),
}


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("widths", WIDTHS)
def test_it_is_its_definition_on_the_activations(name: str, widths: tuple[int, int]) -> None:
    found, expected = DEFINITIONS[name]
    for seed in range(3):
        x, y = activations(seed, *widths)
        assert found(covariances(x, y)) == pytest.approx(expected(x, y), abs=1e-6)


def test_canonical_correlations_are_sklearns() -> None:
    x, y = activations(5, 4, 3)
    fitted = CCA(n_components=3, max_iter=10_000, tol=1e-12).fit(x, y).transform(x, y)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(*(z.T for z in fitted), strict=True)]
    np.testing.assert_allclose(canonical_correlations(covariances(x, y)), expected, atol=1e-5)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_renumbered_copy_is_the_same(name: str) -> None:
    """Distances 0 (to the rounding of a square root or an arccosine), similarities 1."""
    x, _ = activations(6)
    value = DEFINITIONS[name][0](covariances(x, x[:, ::-1] + 4))
    distance = any(word in name for word in ("Procrustes", "angular", "soft matching")) and "score" not in name
    assert value == pytest.approx(0 if distance else 1, abs=1e-6)


ROTATED_ALIKE = ["linear CKA", "mean CCA", "SVCCA", "Procrustes", "angular", "regression"]
SCALED_ALIKE = [name for name in DEFINITIONS if name not in ("Procrustes", "permutation Procrustes")]


@given(st.integers(0, 2**16))
def test_what_a_measure_does_not_depend_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = activations(seed)
    for name, (value, _) in DEFINITIONS.items():
        plain = value(covariances(x, y))
        moved = value(covariances(x[:, rng.permutation(7)] + 1, y[:, rng.permutation(5)]))
        assert moved == pytest.approx(plain, abs=1e-7), name
        if name in ROTATED_ALIKE:
            turned = value(covariances(x @ orthonormal(7, rng), y @ orthonormal(5, rng)))
            assert turned == pytest.approx(plain, abs=1e-7), name
        if name in SCALED_ALIKE:
            assert value(covariances(3 * x, 0.2 * y)) == pytest.approx(plain, abs=1e-7), name


DISTANCES = [
    procrustes_distance,
    angular_distance,
    permutation_procrustes_distance,
    permutation_angular_distance,
    soft_matching_distance,
]


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_are_metrics(distance: Callable[[Covariances], float]) -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        x, y, z = (rng.standard_normal((40, width)) for width in rng.integers(2, 6, 3))
        direct = distance(covariances(x, z))
        assert direct == pytest.approx(distance(covariances(z, x)))
        assert direct <= distance(covariances(x, y)) + distance(covariances(y, z)) + 1e-9


def test_cca_ignores_every_invertible_map() -> None:
    x, y = activations(9)
    rng = np.random.default_rng(0)
    moved = covariances(x @ rng.standard_normal((7, 7)), y @ rng.standard_normal((5, 5)))
    np.testing.assert_allclose(canonical_correlations(moved), canonical_correlations(covariances(x, y)), atol=1e-7)


def test_units_that_depend_on_others_change_no_canonical_correlation() -> None:
    x, y = activations(10)
    twice = np.hstack([x, x[:, :2] - x[:, 3:5]])
    for value in (mean_cca, regression_r2):
        assert value(covariances(twice, y)) == pytest.approx(value(covariances(x, y)), abs=1e-8)


def test_debiased_cka_of_few_samples_is_that_of_many_and_biased_cka_is_not() -> None:
    """Means over draws of independent networks, whose CKA is 0, and of dependent ones."""
    rng = np.random.default_rng(11)
    mixed = rng.standard_normal((30, 30)) / 4
    for shared in (0.0, 0.8):

        def draw(samples: int, shared: float = shared) -> tuple[Floats, Floats]:
            x, y = rng.standard_normal((samples, 30)), rng.standard_normal((samples, 30))
            return x @ mixed, (shared * x + np.sqrt(1 - shared**2) * y) @ mixed

        truth = linear_cka(covariances(*draw(200_000)))
        pairs = [draw(40) for _ in range(150)]
        debiased = np.mean([by_sums(*pair) for pair in pairs])
        parts = [[covariances(x[f::4], y[f::4]) for f in range(4)] for x, y in pairs]
        folded = np.nanmean([cross_fold_cka(folds) for folds in parts])
        biased = np.mean([linear_cka(covariances(*pair)) for pair in pairs])
        assert debiased == pytest.approx(truth, abs=0.04)
        assert folded == pytest.approx(truth, abs=0.06)
        assert biased > truth + 0.08


def song(x: Floats, y: Floats) -> float:
    """By the unbiased estimator of Song et al. (2007): tr(KL) + 1K1 1L1 / (n-1)(n-2) - 2 1KL1 / (n-2), diagonals 0."""
    n = len(x)
    gram_x, gram_y = (z @ z.T * (1 - np.eye(n)) for z in (x, y))

    def hsic(k: Floats, m: Floats) -> float:
        return float((k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * k.sum(0) @ m.sum(0) / (n - 2))

    return hsic(gram_x, gram_y) / float(np.sqrt(hsic(gram_x, gram_x) * hsic(gram_y, gram_y)))


def by_sums(x: Floats, y: Floats, batch: int = 17) -> float:
    """``debiased_cka`` from sums over batches."""
    sums = NormSums()
    for start in range(0, len(x), batch):
        sums.add([torch.from_numpy(side[start : start + batch]) for side in (x, y)])
    c = covariances(x, y)
    return debiased_cka(c, len(x), sums.of_pair(0, 1, [x.mean(0), y.mean(0)], [c.a, c.cross, c.b]))


def test_debiased_cka_is_songs_estimator_whatever_the_distribution() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        signals = rng.standard_normal((60, 40)) / np.arange(1, 41) ** 0.5
        x, y = (np.maximum(signals @ rng.standard_normal((40, 96)), 0) ** 2 + 3 for _ in range(2))
        exact = song(x, y)
        assert by_sums(x, y) == pytest.approx(exact, abs=1e-9)
        assert cross_fold_cka([covariances(x[f::4], y[f::4]) for f in range(4)]) == pytest.approx(exact, abs=0.1)
        assert linear_cka(covariances(x, y)) > exact + 0.02


def test_folds_estimate_squared_covariances_without_bias() -> None:
    """On skewed activations, against the truth."""
    rng = np.random.default_rng(12)
    mixed = rng.standard_normal((4, 4))
    truth, folded = ((mixed.T @ mixed) ** 2).sum(), []
    for _ in range(4000):
        one, other = (np.cov((rng.exponential(size=(12, 4)) - 1) @ mixed, rowvar=False) for _ in range(2))
        folded.append((one * other).sum())
    assert abs(np.mean(folded) - truth) < 4 * np.std(folded) / np.sqrt(4000)


@pytest.mark.parametrize(("s_a", "s_b"), WIDTHS)
def test_what_was_computed_in_one_direction_serves_the_other(s_a: int, s_b: int) -> None:
    c = covariances(*activations(14, s_a, s_b))
    fresh = [value(c.reversed()) for value in (mean_cca, pwcca, svcca, regression_r2)]
    mean_cca(c)
    assert [value(c.reversed()) for value in (mean_cca, pwcca, svcca, regression_r2)] == pytest.approx(fresh)


def test_normalised_activations_have_variance_one_in_all() -> None:
    x, y = activations(15)
    found = covariances(x, y).normalised
    expected = covariances(x / np.sqrt(x.var(0).sum()), y / np.sqrt(y.var(0).sum()))
    for name in ("a", "cross", "b"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-12)
    assert procrustes_distance(found) == pytest.approx(2 * np.sin(angular_distance(covariances(x, y)) / 2))


def test_units_of_b_are_rotated_as_their_z_scores() -> None:
    """Against the z-scores themselves, mixed by the same matrix."""
    x, y = activations(16)
    c = covariances(x, y)
    q = orthonormal(5, np.random.default_rng(0))
    expected = np.abs(np.corrcoef(x, z_scores(y) @ q, rowvar=False)[:7, 7:])
    np.testing.assert_allclose(mixed(c, q).correlations().cross, expected, atol=1e-12)
    assert hard_correlation_match(mixed(c, np.eye(5))) >= hard_correlation_match(c)


def test_dead_units_are_left_out() -> None:
    x, y = activations(13)
    dead = np.insert(x, 2, 7.0, axis=1)
    both = np.cov(dead, y, rowvar=False, bias=True)
    both[4] = both[:, 4] = np.nan
    found = Covariances.of(both[:8, :8], both[:8, 8:], both[8:, 8:])
    expected = covariances(np.delete(x, 3, 1), y)
    for name, (value, _) in DEFINITIONS.items():
        assert value(found) == pytest.approx(value(expected), abs=1e-9), name


def test_everything_dead() -> None:
    nothing = Covariances.of(np.full((2, 2), np.nan), np.full((2, 3), np.nan), np.full((3, 3), np.nan))
    assert np.isnan([value(nothing) for value, _ in DEFINITIONS.values()]).all()
    assert np.isnan([debiased_cka(nothing, 9, NormProducts(0, 0, 0)), cross_fold_cka([nothing, nothing])]).all()


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="covariances have shapes"):
        Covariances.of(np.eye(2), np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="must be finite"):
        Covariances.of(np.eye(1), np.array([[np.nan]]), np.eye(1))
    good = covariances(*activations(0))
    with pytest.raises(ValueError, match="at least 4 samples"):
        debiased_cka(good, 3, NormProducts(1, 1, 1))
    for folds in ([good], [good, good.reversed()]):
        with pytest.raises(ValueError, match="two or more folds of the same units"):
            cross_fold_cka(folds)
