"""Differences of means over pairs of networks: against the jackknife by hand, and how often intervals hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from raycv.analysis.contrasts import contrast
from raycv.analysis.similarity import mean_over_networks

Draw = Callable[..., Any]
networks = st.integers(3, 7)
seeds = st.integers(0, 10_000)


def pairs_of(count: int, rng: np.random.Generator, *, apart: bool = False) -> dict[tuple[str, str], float]:
    kept = [pair for pair in itertools.permutations(range(count), 2) if not apart or sum(pair) % 2]
    return {(f"net{a}", f"net{b}"): float(rng.normal()) for a, b in kept}


@given(networks, seeds)
def test_alone_it_is_the_mean_over_networks(count: int, seed: int) -> None:
    values = pairs_of(count, np.random.default_rng(seed))
    found = contrast(values)
    mean, interval = mean_over_networks({(int(a[3:]), int(b[3:])): value for (a, b), value in values.items()})
    assert found.value == pytest.approx(mean)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


@given(networks, seeds)
def test_the_other_way_round_it_is_the_opposite(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = pairs_of(count, rng), pairs_of(count, rng, apart=count > 3)
    there, back = contrast(one, other), contrast(other, one)
    assert there.value == pytest.approx(-back.value)
    assert (there.interval.low, there.interval.high) == pytest.approx((-back.interval.high, -back.interval.low))
    assert there.p_value == pytest.approx(back.p_value)
    assert (there.p_value < 0.05) == (there.interval.low > 0 or there.interval.high < 0)


@given(networks, seeds)
def test_of_additive_values_it_is_the_t_test_over_networks(count: int, seed: int) -> None:
    """Where a pair's value is the sum of its networks', leaving out one network at a time is a one-sample t-test.

    Without one of K networks the mean changes by 2 / (K - 1) of what it is off; the standard error is exact.
    """
    rng = np.random.default_rng(seed)
    of_one, of_other = rng.normal(size=(2, count))
    kept = list(itertools.combinations(range(count), 2))
    one, other = ({(f"net{a}", f"net{b}"): of[a] + of[b] for a, b in kept} for of in (of_one, of_other))
    found, expected = contrast(one, other), ttest_1samp(2 * (of_one - of_other), 0)
    assert found.value == pytest.approx(2 * (of_one - of_other).mean())
    assert found.p_value == pytest.approx(expected.pvalue)
    ends = expected.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((ends.low, ends.high))


@given(seeds)
def test_a_network_that_both_sides_have_counts_once(seed: int) -> None:
    """What is the same on both sides leaves no difference and no doubt; the order of pairs does not matter."""
    values = pairs_of(5, np.random.default_rng(seed))
    shifted = {pair: value + 1 for pair, value in reversed(values.items())}
    found = contrast(shifted, values)
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((1, 1, 1))


def test_what_cannot_be_known_is_nan() -> None:
    two = contrast({("net1", "net2"): 0.5})
    assert two.value == 0.5
    assert math.isnan(two.interval.low)
    assert math.isnan(two.p_value)
    star = contrast({("net1", "net2"): 0.5, ("net1", "net3"): 0.6})  # without net1 no pair is left
    assert math.isnan(star.interval.low)
    hole = contrast({("net1", "net2"): 0.5, ("net1", "net3"): 0.6, ("net2", "net3"): math.nan})
    assert math.isnan(hole.value)
    assert math.isnan(hole.p_value)


def sample(
    draw: Draw, of_pairs: float, count: int, shared: int, rng: np.random.Generator, *, apart: bool
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Two cells of no difference: values of networks and of pairs; ``shared`` networks are in both."""
    first = draw(count)
    second = np.where(np.arange(count) < shared, first, draw(count))
    cells = []
    for of_net, kinds in ((first, apart), (second, False)):
        kept = [pair for pair in itertools.combinations(range(count), 2) if not kinds or sum(pair) % 2]
        cells.append({(f"net{a}", f"net{b}"): float(of_net[a] + of_net[b] + of_pairs * draw()) for a, b in kept})
    return cells[0], cells[1]


@pytest.mark.parametrize("apart", [False, True], ids=["all pairs", "pairs of both halves"])
@pytest.mark.parametrize("shared", [0, 2, 4])
@pytest.mark.parametrize("tails", ["normal", "heavy", "skewed"])
def test_intervals_of_differences_hold_with_four_networks(tails: str, shared: int, apart: bool) -> None:
    """No less often than 95%, whether or not cells share networks; heavy tails are those of t with 3 degrees."""
    rng = np.random.default_rng(0)
    draws: dict[str, Draw] = {
        "normal": rng.standard_normal,
        "heavy": lambda *size: rng.standard_t(3, size=size or None),
        "skewed": lambda *size: rng.exponential(size=size or None) - 1,
    }
    trials, held, found = 2000, 0, 0
    for _ in range(trials):
        result = contrast(*sample(draws[tails], 0.3, 4, shared, rng, apart=apart))
        held += result.interval.low <= 0 <= result.interval.high
        found += result.p_value <= 0.05
    assert held / trials > 0.95 - 2.6 * math.sqrt(0.05 * 0.95 / trials)
    assert found / trials < 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / trials)


def test_intervals_of_one_cell_hold_less_often_where_networks_are_skewed() -> None:
    """As the manual says: 95% of normal networks, between 85% and 93% of exponential ones, with four of them."""
    rng = np.random.default_rng(0)
    draws: dict[str, Draw] = {"normal": rng.standard_normal, "skewed": lambda size=None: rng.exponential(size=size) - 1}
    held = {}
    for tails, draw in draws.items():
        found = [contrast(sample(draw, 0.2, 4, 0, rng, apart=False)[0]).interval for _ in range(1500)]
        held[tails] = np.mean([interval.low <= 0 <= interval.high for interval in found])
    assert held["normal"] > 0.93
    assert 0.85 < held["skewed"] < 0.93
