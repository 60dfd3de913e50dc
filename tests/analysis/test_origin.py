"""Partners at the same index: what chance gives, by all orders of a few units and by simulation."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from raycv.analysis.origin import same_index


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.lists(st.integers(-1, n - 1), max_size=7), st.just(n))))
def test_chance_is_that_of_all_orders_of_the_units_of_b(drawn: tuple[list[int], int]) -> None:
    partners, units = drawn
    counts = [
        sum(partner >= 0 and order[partner] == unit for unit, partner in enumerate(partners))
        for order in permutations(range(units))
    ]
    found = same_index(partners, [True] * units)
    matched = sum(partner >= 0 for partner in partners)
    if not matched:
        assert np.isnan(found).all()
        return
    assert found.chance == pytest.approx(np.mean(counts) / matched)
    assert found.share == pytest.approx(counts[0] / matched)
    assert np.mean(np.array(counts) >= counts[0]) <= found.p_value + 1e-9


def test_units_that_can_be_no_partners_have_no_part_in_chance() -> None:
    found = same_index([-1, 1, 2, 5, 4, 0], [True, True, True, False, True, True])
    assert found.share == 3 / 5
    assert found.chance == pytest.approx(4 / 5 / 5)  # unit 3's partner cannot be at 3
    assert found.p_value == pytest.approx(4 * 2 / 120)  # three of four in their places: C(4, 3) · 2! / 5!


@pytest.mark.parametrize(("units", "seen"), [(1, False), (2, False), (6, False), (9, False), (10, True), (640, True)])
def test_copies_are_seen_from_ten_units_on(units: int, seen: bool) -> None:
    assert same_index(np.arange(units), np.ones(units, bool)).is_seen == seen


def test_independent_networks_are_not_said_to_share_anything() -> None:
    """Neither with the best partners nor one to one; p-values up to .05 are had in at most 5% of cases."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        a, b = rng.standard_normal((2, 200, 24)) * rng.uniform(0.1, 3, (2, 1, 24))
        b = b + rng.standard_normal((200, 1))  # units of b have one thing in common
        cross = np.abs(np.corrcoef(a, b, rowvar=False)[:24, 24:])
        found.append([same_index(cross.argmax(1), np.ones(24, bool))])
        found[-1].append(same_index(linear_sum_assignment(-cross)[1], np.ones(24, bool)))
    assert not any(one.is_seen for of_pair in found for one in of_pair)
    p_values = np.array([[one.p_value for one in of_pair] for of_pair in found])
    assert ((p_values <= 0.05).mean(0) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)).all()
    chance, share = np.array([[(one.chance, one.share) for one in of_pair] for of_pair in found]).transpose(2, 1, 0)
    assert chance.mean(1) == pytest.approx(share.mean(1), abs=3 * share.std() / 20)


def test_a_significant_share_that_is_small_is_not_enough() -> None:
    partners = (np.arange(1000) + 1) % 1000
    partners[:30] = np.arange(30)  # of blocks of units side by side, say
    found = same_index(partners, np.ones(1000, bool))
    assert found.p_value < 1e-20
    assert not found.is_seen
