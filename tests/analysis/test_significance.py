"""P-values and false discovery rates against scipy and against counting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest

from raycv.analysis.significance import pooled_p_values, q_values


def test_q_values_are_scipys() -> None:
    p = np.random.default_rng(0).uniform(size=50) ** 2
    p[10] = p[11]
    np.testing.assert_allclose(q_values(p), false_discovery_control(p))
    with_dead = np.insert(p, 3, np.nan)
    found = q_values(with_dead)
    assert np.isnan(found[3])
    np.testing.assert_allclose(np.delete(found, 3), false_discovery_control(p))
    assert len(q_values([])) == 0


def test_p_values_count_null_ratios() -> None:
    null = np.array([[0.2, 0.4, np.nan], [0.4, 0.4, np.nan]])  # ratios to the other draw: .5, 1, 2, 1
    found = pooled_p_values([0.45, 0.16, np.nan], null)  # 1.5 and .4 times the mean null
    np.testing.assert_allclose(found, [2 / 5, 1.0, np.nan])


def test_p_values_of_chance_are_uniform() -> None:
    rng = np.random.default_rng(1)
    level = rng.uniform(0.1, 0.5, 400)
    draws = level * (1 + 0.1 * rng.gumbel(size=(21, 400)))
    assert kstest(pooled_p_values(draws[0], draws[1:]), "uniform").pvalue > 0.01


def test_bad_input() -> None:
    for null in (np.ones((1, 2)), np.ones((3, 3)), np.ones(2)):
        with pytest.raises(ValueError, match="need a null"):
            pooled_p_values([0.1, 0.2], null)
