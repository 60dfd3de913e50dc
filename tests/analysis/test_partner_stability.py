"""Partners in two halves of the images, from the definition and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

import raycv
from raycv.analysis.partner_stability import partner_stability
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.halves import halves, stabilities
from tests.support.runs import moments_of


def test_a_unit_that_is_constant_in_one_half_has_no_partner_there() -> None:
    one = np.array([[0.9, 0.1], [np.nan, np.nan], [np.nan, np.nan]])
    other = np.array([[0.2, 0.8], [0.6, 0.1], [np.nan, np.nan]])
    found = partner_stability([(one, other)])
    np.testing.assert_array_equal(found.same, [0, 0, np.nan])
    np.testing.assert_allclose(found.heldout, [(0.2 + 0.1) / 2, 0, np.nan])


def test_without_sign_a_correlation_that_turns_around_is_held_out_as_negative() -> None:
    found = partner_stability([(np.array([[-0.9, 0.1]]), np.array([[0.8, 0.1]]))], signed=False)
    assert found.same.tolist() == [1]
    assert found.heldout.tolist() == pytest.approx([-0.85])


@pytest.mark.parametrize(("folds", "splits"), [(1, 0), (2, 1), (3, 1), (8, 4)])
def test_halves_equal_numpy_on_the_samples_of_their_folds(folds: int, splits: int) -> None:
    rng = np.random.default_rng(0)
    parts = [(rng.standard_normal((60, 5)), rng.standard_normal((60, 7))) for _ in range(folds)]
    parts = [(a, np.hstack([a + rng.standard_normal(a.shape), b[:, :2]])) for a, b in parts]
    found = LayerStatistics(tuple(moments_of(part) for part in parts))
    there = stabilities(halves(found), np.zeros(12, bool), 0, 1)
    if not splits:
        assert there is None
        return
    expected = []
    for first in range(splits):
        inside = [(first + n) % folds for n in range(folds // 2)]
        both = [
            np.corrcoef(np.concatenate([np.hstack(parts[f]) for f in chosen]), rowvar=False)[:5, 5:]
            for chosen in (inside, [f for f in range(folds) if f not in inside])
        ]
        expected.append(both)
    assert there is not None
    for direction, of_a in zip(there, (True, False), strict=True):
        turned = [[half if of_a else half.T for half in both] for both in expected]
        rows = np.arange(5 if of_a else 7)
        same = np.mean([one.argmax(1) == other.argmax(1) for one, other in turned], axis=0)
        other = [(two[rows, one.argmax(1)] + one[rows, two.argmax(1)]) / 2 for one, two in turned]
        np.testing.assert_array_equal(direction.same, same)
        np.testing.assert_allclose(direction.heldout, np.mean(other, axis=0), atol=5e-6)


def test_the_best_of_many_is_not_what_it_seems_and_copies_are_stable() -> None:
    """Where nothing is in common, held-out values are 0 on the mean and one of 30 partners is the same."""
    rng = np.random.default_rng(0)
    a, noise = rng.standard_normal((2, 800, 30))
    for b, same, value in ((noise, 1 / 30, 0), (a + 0.5 * noise, 1, 1 / np.sqrt(1.25))):
        parts = zip(np.split(a, 8), np.split(b, 8), strict=True)
        found = stabilities(halves(LayerStatistics(tuple(map(moments_of, parts)))), np.zeros(60, bool), 0, 1)
        assert found is not None
        assert np.mean([one.same.mean() for one in found]) == pytest.approx(same, abs=0.05)
        assert np.mean([one.heldout.mean() for one in found]) == pytest.approx(value, abs=0.02)


def test_compare_says_how_stable_partners_are() -> None:
    rng = np.random.default_rng(0)
    a, noise = rng.standard_normal((2, 800, 20))
    b = -a + noise * np.where(np.arange(20) < 10, 0.2, 20)  # half of b's units are copies, half noise
    found = raycv.compare({"a": a, "b": b})
    rows = found.matching().query("net_a == 'a'")
    assert rows["partner_stability"][:10].tolist() == [1] * 10
    np.testing.assert_allclose(rows["heldout_value"][:10], rows["value"].abs()[:10], atol=0.01)
    assert rows["partner_stability"][10:].mean() < 0.4
    assert rows["heldout_value"][10:].mean() < rows["value"].abs()[10:].mean() - 0.05
    (of_a, _) = found.alignment(["partner_stability", "heldout_mean"]).to_dict("records")
    assert of_a["partner_stability"] == pytest.approx(rows["partner_stability"].mean())
    assert of_a["heldout_mean"] == pytest.approx(rows["heldout_value"].mean())
    signed = found.matching(signed=True).query("net_a == 'a'")
    assert (signed["heldout_value"] < 0.2).all()
    assert "partner_stability" not in found.matching("bipartite")
