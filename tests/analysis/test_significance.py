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


def test_p_values_count_draws_unit_by_unit() -> None:
    """By its definition, one draw and one other draw at a time."""
    rng = np.random.default_rng(0)
    null, values = rng.uniform(0.1, 0.5, (6, 4)), rng.uniform(0.1, 0.6, 4)
    z, fisher = np.arctanh(values), np.arctanh(null)
    common = 10 * fisher.var(0, ddof=1).mean()

    def above(value: float, draws: np.ndarray) -> float:
        squares = ((draws - draws.mean()) ** 2).sum()
        return float((value - draws.mean()) / np.sqrt((common + squares) / (10 + len(draws) - 1)))

    pool = np.array([above(fisher[k, i], np.delete(fisher[:, i], k)) for i in range(4) for k in range(6)])
    expected = [(1 + (pool >= above(z[i], fisher[:, i])).sum()) / 25 for i in range(4)]
    with_dead = pooled_p_values(np.insert(values, 2, np.nan), np.insert(null, 2, np.nan, axis=1))
    np.testing.assert_allclose(np.delete(with_dead, 2), expected)
    assert np.isnan(with_dead[2])


def test_copies_and_ties() -> None:
    assert pooled_p_values([1.0, 0.2], np.full((20, 2), 0.2)).tolist() == [1 / 41, 1.0]


def test_p_values_of_chance_are_uniform() -> None:
    rng = np.random.default_rng(1)
    level = rng.uniform(0.1, 0.5, 400)
    draws = level * (1 + 0.1 * rng.gumbel(size=(21, 400)))
    assert kstest(pooled_p_values(draws[0], draws[1:]), "uniform").pvalue > 0.01


def test_bad_input() -> None:
    for null in (np.ones((2, 2)), np.ones((3, 3)), np.ones(2)):
        with pytest.raises(ValueError, match="need a null"):
            pooled_p_values([0.1, 0.2], null)
