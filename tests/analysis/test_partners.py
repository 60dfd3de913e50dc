"""Partners beyond chance, on copies of which it is known which units were rotated."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.analysis.nulls import rotated
from raycv.analysis.partners import partners
from raycv.analysis.significance import pooled_p_values, q_values
from tests.support.activations import nets
from tests.support.copies import copied, pair

SEEDS = range(10)


def rates(units: int, share: float, **settings: float) -> tuple[float, float]:
    """The false discovery rate and the part of the copied units found, means over seeds."""
    kept, false, found = int(share * units), [], []
    for seed in SEEDS:
        discoveries = partners(*pair(*copied(seed, units, share, **settings)), seed=seed).found()  # type: ignore[arg-type]
        false.append(discoveries[kept:].sum() / max(discoveries.sum(), 1))
        found.append(discoveries[:kept].mean() if kept else 1.0)
    return float(np.mean(false)), float(np.mean(found))


@pytest.mark.parametrize("units", [40, 80])
@pytest.mark.parametrize(("noise", "mixing"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.6)])
def test_half_rotated_copies_are_recovered_at_the_rate_promised(units: int, noise: float, mixing: float) -> None:
    false, found = rates(units, 0.5, noise=noise, mixing=mixing)
    assert false <= 0.06  # 5% promised, in the mean over many seeds
    assert found > 0.98


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_so_are_copies_of_which_another_part_is_rotated(share: float) -> None:
    false, found = rates(80, share, noise=0.5)
    assert false <= 0.07
    assert found > 0.98


def test_rotated_copies_have_no_partners_and_renumbered_ones_have_all() -> None:
    assert rates(60, 0.0)[0] <= 0.2  # in 5% of the cases something is found: of 10, two by chance
    false, found = rates(40, 1.0, noise=0.5)
    assert (false, found) == (0, 1)


def test_rotating_the_whole_layer_for_every_unit_would_not_keep_the_promise() -> None:
    false = []
    for seed in SEEDS:
        cross, within = pair(*copied(seed, 80, 0.5, mixing=0.0))
        q = q_values(pooled_p_values(np.abs(cross).max(1), rotated(cross, within, seed=seed).values))
        false.append((q[40:] < 0.05).sum() / (q < 0.05).sum())
    assert np.mean(false) > 0.15


def test_partners_are_the_best_units_whatever_their_order_and_sign() -> None:
    a, b = copied(3, noise=0.4)
    order = np.random.default_rng(0).permutation(40)
    cross, within = pair(a, -3 * b[:, order])
    found = partners(cross, within)
    np.testing.assert_array_equal(order[found.columns], np.arange(40))
    np.testing.assert_allclose(found.values, np.abs(cross).max(1))
    assert (found.null < found.values).all()
    assert found.found().all()
    np.testing.assert_array_equal(found.found(0.0), False)


def test_dead_units_have_none_and_change_nothing() -> None:
    x, y = nets(2, sources=30, targets=25)
    cross, within = pair(x, y)
    plain = partners(cross, within)
    wide, square = np.insert(cross, 0, np.nan, axis=1), np.insert(np.insert(within, 0, np.nan, 0), 0, np.nan, 1)
    found = partners(np.insert(wide, 5, np.nan, axis=0), square)
    assert found.columns[5] == -1
    assert np.isnan([found.values[5], found.p_values[5], found.q_values[5]]).all()
    np.testing.assert_array_equal(np.delete(found.columns, 5), plain.columns + 1)
    np.testing.assert_allclose(np.delete(found.q_values, 5), plain.q_values)
    assert not partners(np.full((3, 2), np.nan), np.full((2, 2), np.nan)).found().any()


def test_two_units_may_share_a_partner() -> None:
    a, b = copied(4, noise=0.2)
    twin = a[:, :1] + 0.3 * a.std() * np.random.default_rng(0).standard_normal((len(a), 1))
    found = partners(*pair(np.hstack([a, twin]), b))
    assert found.columns[40] == 0
    assert found.found()[40]
