"""Matchings against brute force, and what must hold when units are renumbered."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raycv.analysis.matching import agreement, bipartite_matching, inverse, semi_matching

similarities = arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    elements=st.integers(-100, 100).map(lambda n: n / 100),
)


def best_total(similarity: np.ndarray) -> float:
    rows, columns = similarity.shape
    if rows > columns:
        return best_total(similarity.T)
    return max(float(similarity[range(rows), list(p)].sum()) for p in itertools.permutations(range(columns), rows))


@given(similarities)
def test_bipartite_matching_is_the_best_assignment(similarity: np.ndarray) -> None:
    found = bipartite_matching(similarity)
    chosen = found.columns[found.columns >= 0]
    assert len(set(chosen)) == len(chosen) == min(similarity.shape)
    assert np.nansum(found.values) == pytest.approx(best_total(similarity))


@given(similarities)
def test_semi_matching_is_the_largest_of_each_row(similarity: np.ndarray) -> None:
    found = semi_matching(similarity)
    np.testing.assert_array_equal(found.columns, similarity.argmax(1))
    np.testing.assert_array_equal(found.values, similarity.max(1))


@given(st.integers(0, 2**16), st.integers(1, 12))
def test_renumbering_units_renumbers_partners(seed: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    similarity = rng.uniform(-1, 1, (units, units))
    order = rng.permutation(units)
    for method in (semi_matching, bipartite_matching):
        plain, shuffled = method(similarity), method(similarity[:, order])
        np.testing.assert_array_equal(plain.columns, order[shuffled.columns])
        np.testing.assert_array_equal(plain.values, shuffled.values)


def test_a_shuffled_copy_matches_perfectly() -> None:
    order = np.random.default_rng(0).permutation(40)
    similarity = np.asarray(np.corrcoef(np.random.default_rng(1).standard_normal((40, 500))))[:, order]
    for method in (semi_matching, bipartite_matching):
        found = method(similarity)
        np.testing.assert_array_equal(order[found.columns], np.arange(40))
        np.testing.assert_allclose(found.values, 1)


def test_dead_units_are_never_matched() -> None:
    similarity = np.array([[0.1, np.nan, 0.9], [np.nan, np.nan, np.nan], [0.3, np.nan, 0.8]])
    semi, one = semi_matching(similarity), bipartite_matching(similarity)
    np.testing.assert_array_equal(semi.columns, [2, -1, 2])
    np.testing.assert_array_equal(one.columns, [2, -1, 0])
    assert np.isnan(semi.values[1])
    assert np.isnan(one.values[1])


def test_everything_dead() -> None:
    similarity = np.full((3, 2), np.nan)
    for method in (semi_matching, bipartite_matching):
        np.testing.assert_array_equal(method(similarity).columns, [-1, -1, -1])
    assert np.isnan(agreement(semi_matching(similarity), bipartite_matching(similarity)))


def test_surplus_rows_have_no_partner_and_inverse_swaps_sides() -> None:
    similarity = np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.6]])
    found = bipartite_matching(similarity)
    np.testing.assert_array_equal(found.columns, [0, 1, -1])
    other = inverse(found, 2)
    np.testing.assert_array_equal(other.columns, bipartite_matching(similarity.T).columns)
    np.testing.assert_array_equal(other.values, bipartite_matching(similarity.T).values)


def test_agreement_counts_rows_with_a_partner_in_both() -> None:
    similarity = np.array([[0.9, 0.1], [0.8, 0.2], [np.nan, np.nan]])
    assert agreement(semi_matching(similarity), bipartite_matching(similarity)) == 0.5


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="two axes"):
        semi_matching(np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        bipartite_matching(np.array([[np.inf]]))
