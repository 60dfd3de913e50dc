"""Recurring units among networks of which it is known what they share."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycv.analysis.arrays import Floats
from raycv.analysis.matching import semi_matching
from raycv.analysis.nulls import excess, rotated
from raycv.analysis.recurrence import (
    Recurrence,
    grouped_share,
    over_networks,
    partner_share,
    recurrence,
    recurring_share,
)
from raycv.analysis.similarity import correlation, jackknife
from tests.support.copies import orthonormal

UNITS, SHARED = 36, 20  # of which the first 20 are in all networks, up to noise; 4 more in the first two alone


def planted(seed: int, networks: int = 4) -> tuple[list[Floats], list[np.ndarray]]:
    """Activations (2000, 36) of each network, and where its units went: ``order[i]`` is the signal of unit i."""
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((2000, UNITS))
    found, orders = [], []
    for n in range(networks):
        kept = SHARED + 4 if n < 2 else SHARED
        x = signals.copy()
        x[:, kept:] = x[:, kept:] @ orthonormal(UNITS - kept, rng) + 0.5 * rng.standard_normal((2000, UNITS - kept))
        x[:, :kept] += 0.3 * rng.standard_normal((2000, kept))
        orders.append(rng.permutation(UNITS))
        found.append(x[:, orders[-1]] * rng.choice([-1, 1], UNITS) + 2)
    return found, orders


def correlations(activations: list[Floats]) -> dict[tuple[int, int], Floats]:
    pairs = combinations_with_replacement(range(len(activations)), 2)
    return {(a, b): correlation(activations[a], activations[b]) for a, b in pairs}


@pytest.fixture(scope="module")
def found() -> tuple[Recurrence, list[np.ndarray]]:
    activations, orders = planted(0)
    return recurrence(correlations(activations)), orders


def test_planted_groups_are_found(found: tuple[Recurrence, list[np.ndarray]]) -> None:
    result, orders = found
    groups = result.groups()
    signals = np.stack([order[groups[:, n]] for n, order in enumerate(orders)], axis=1)
    shared = signals[(signals < SHARED).all(1)]
    np.testing.assert_array_equal(shared, np.repeat(shared[:, :1], 4, axis=1))
    assert sorted(shared[:, 0]) == list(range(SHARED))
    assert len(groups) <= SHARED + 1  # a block rotated four times closes hardly ever
    for n in range(4):
        numbers = result.group(n)
        for number, units in enumerate(groups):
            assert numbers[units[n]] == number
        assert (numbers >= 0).sum() == len(groups)


def test_partners_are_counted(found: tuple[Recurrence, list[np.ndarray]]) -> None:
    result, orders = found
    for n, order in enumerate(orders):
        partners, mutual = result.partners(n), result.mutual(n)
        np.testing.assert_array_equal(partners[order < SHARED], 3)
        np.testing.assert_array_equal(mutual[order < SHARED], 3)
        assert (partners[order >= SHARED] == 3).sum() <= 2
        half = (order >= SHARED) & (order < SHARED + 4)
        assert (partners[half] >= (1 if n < 2 else 0)).all()
        shared, others = order < SHARED, order >= SHARED + 4
        assert result.excess(n)[shared].min() > result.excess(n)[others].max()
        assert result.q_values(n)[shared].max() < 0.05
        assert np.median(result.q_values(n)[others]) > 0.05


def test_shares_and_their_intervals(found: tuple[Recurrence, list[np.ndarray]]) -> None:
    result, _ = found
    expected = np.mean(np.concatenate([result.partners(n) == 3 for n in range(4)]))
    assert recurring_share(result) == pytest.approx(expected)
    assert expected == pytest.approx(SHARED / UNITS, abs=0.03)
    assert grouped_share(result) == pytest.approx(len(result.groups()) / UNITS)
    assert partner_share(result) >= recurring_share(result)
    for share in (recurring_share, grouped_share, partner_share):
        replicates = []
        for left_out in range(4):
            rest = {pair: found for pair, found in result.pairs.items() if left_out not in pair}
            replicates.append(share(Recurrence(rest)))
        assert over_networks(result, share) == jackknife(share(result), replicates, units=UNITS)
    two = Recurrence({pair: result.pairs[pair] for pair in ((0, 1), (1, 0))})
    assert np.isnan(over_networks(two, recurring_share).low)


def test_excess_and_p_values_are_those_of_the_pairs() -> None:
    matrices = correlations(planted(1, networks=3)[0])
    result = recurrence(matrices, rotations=40)
    crosses = {1: matrices[0, 1], 2: matrices[0, 2]}
    expected = [excess(cross, rotated(cross, matrices[m, m], rotations=40)).units for m, cross in crosses.items()]
    np.testing.assert_allclose(result.excess(0), np.mean(expected, axis=0), atol=0.05)
    largest = np.maximum(result.pairs[0, 1].p_values, result.pairs[0, 2].p_values)
    np.testing.assert_array_equal(result.p_values(0), largest)
    np.testing.assert_array_equal(result.pairs[2, 0].columns, semi_matching(np.abs(matrices[0, 2].T)).columns)


@given(st.integers(0, 2**16), st.integers(2, 4))
def test_groups_are_all_tuples_of_mutual_best_units(seed: int, networks: int) -> None:
    """By checking every unit of the first network, and every pair in its tuple, one by one."""
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((60, 8))
    activations = [signals[:, rng.permutation(8)] + rng.standard_normal((60, 8)) for _ in range(networks)]
    result = recurrence(correlations(activations), rotations=3)
    expected = []
    for unit in range(8):
        best = {0: unit} | {m: result.pairs[0, m].columns[unit] for m in range(1, networks)}
        if all(result.pairs[n, m].columns[best[n]] == best[m] for n in best for m in best if n != m):
            expected.append([best[n] for n in range(networks)])
    assert result.groups().tolist() == expected
    for n in range(networks):
        assert (result.mutual(n)[result.group(n) >= 0] == networks - 1).all()


def test_networks_without_common_units_share_none() -> None:
    rng = np.random.default_rng(2)
    signals = rng.standard_normal((2000, 30))
    result = recurrence(correlations([signals @ orthonormal(30, rng) for _ in range(4)]))
    assert recurring_share(result) < 0.04
    assert partner_share(result) < 0.1


def test_dead_units_recur_nowhere_and_are_not_counted() -> None:
    activations, _ = planted(3, networks=3)
    plain = recurrence(correlations(activations))
    dead = [np.insert(activations[0], 5, 1.0, axis=1), *activations[1:]]
    result = recurrence(correlations(dead))
    assert not result.live(0)[5]
    assert (result.partners(0)[5], result.mutual(0)[5], result.group(0)[5]) == (0, 0, -1)
    assert np.isnan([result.excess(0)[5], result.p_values(0)[5], result.q_values(0)[5]]).all()
    assert recurring_share(result) == pytest.approx(recurring_share(plain))
    assert grouped_share(result) == pytest.approx(grouped_share(plain))


def test_one_network_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more networks"):
        recurrence({(0, 0): np.eye(3)})
