"""Partners of sparse features against dense correlations, and their rate and power by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array

from raycv.analysis import decoder_partners, feature_partners

Floats = NDArray[np.float64]
FEATURES = 150


def independent(seed: int, samples: int = 8000) -> Floats:
    """Features that share nothing, active in .02 to 10% of the samples."""
    rng = np.random.default_rng(seed)
    rates = np.exp(rng.uniform(np.log(2e-4), np.log(0.1), FEATURES))
    return np.asarray((rng.random((samples, FEATURES)) < rates) * rng.lognormal(0, 1, (samples, FEATURES)))


def in_documents(seed: int, count: int = 150) -> tuple[Floats, NDArray[np.int64]]:
    """Features that share nothing, each active in a tenth of the documents and there in half of the tokens."""
    rng = np.random.default_rng(seed)
    documents = np.repeat(np.arange(count), np.random.default_rng(0).integers(10, 60, count))
    topics = (rng.random((count, FEATURES)) < 0.1) * rng.lognormal(0, 1, (count, FEATURES))
    return topics[documents] * (rng.random((len(documents), FEATURES)) < 0.5), documents


@given(st.integers(0, 2**16), st.integers(2, 60), st.integers(1, 9), st.integers(1, 9))
def test_partners_are_those_of_dense_correlations(seed: int, samples: int, first: int, second: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.maximum(rng.standard_normal((samples, width)) - 0.7, 0) for width in (first, second))
    with np.errstate(invalid="ignore", divide="ignore"):
        dense = np.corrcoef(np.hstack([a, b]).T)[:first, first:]
    dense = np.where(np.isnan(dense) | ((a != 0).T.astype(float) @ (b != 0) == 0), -1, dense)
    found = feature_partners(csr_array(a), csc_array(b), draws=3)
    best = dense.max(1)
    has = best > 1e-9
    np.testing.assert_allclose(found.values[has], best[has], atol=1e-9)
    assert (dense[has, found.columns[has]] >= best[has] - 1e-9).all()
    assert (found.columns[best < -1e-9] == -1).all()


def test_features_that_share_nothing_have_no_partners() -> None:
    shares = [
        feature_partners(csr_array(independent(seed)), csr_array(independent(100 + seed))).found().mean()
        for seed in range(6)
    ]
    assert np.mean(shares) < 0.01
    assert sorted(shares)[3] == 0


def test_noisy_copies_have_them() -> None:
    rng = np.random.default_rng(3)
    a, b = independent(1), independent(2)
    copies = (a[:, :75] * rng.lognormal(0, 0.3, (len(a), 75)) * (rng.random((len(a), 75)) < 0.8))[:, ::-1]
    b[:, :75] = copies
    found = feature_partners(csr_array(a), csr_array(b))
    often = (a[:, :75] > 0).sum(0) >= 10
    assert found.found()[:75][often].mean() > 0.95
    assert (found.columns[:75] == np.arange(75)[::-1])[often].all()
    assert found.found()[75:].mean() < 0.05


def test_tokens_of_one_document_are_no_independent_samples() -> None:
    """Without documents nearly every feature would pass for universal; with them hardly one does."""
    (a, documents), (b, _) = in_documents(1), in_documents(2)
    together = feature_partners(csr_array(a), csr_array(b), documents=documents)
    apart = feature_partners(csr_array(a), csr_array(b))
    np.testing.assert_array_equal(together.columns, apart.columns)
    assert apart.found().mean() > 0.9
    assert together.found().mean() < 0.02


def test_the_directions_of_a_permuted_dictionary_are_found() -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((40, 12))
    directions[7] = 0
    order = rng.permutation(40)
    found = decoder_partners(directions, 3 * directions[order])
    live = np.arange(40) != 7
    np.testing.assert_array_equal(order[found.columns[live]], np.arange(40)[live])
    np.testing.assert_allclose(found.values[live], 1)
    assert found.columns[7] == -1


SOME = csr_array(independent(0, 50))


@pytest.mark.parametrize(
    ("a", "b", "how", "said"),
    [
        (SOME, SOME[:40], {}, "a has 50 samples and b 40"),
        (coo_array(([np.nan], ([0], [0])), (50, 3)), SOME, {}, "the activations of a are not all finite"),
        (SOME, SOME, {"draws": 2}, "draws is 2; it must be 3 or more"),
        (SOME, SOME, {"documents": np.zeros(50)}, "two or more, the samples of each together; found one"),
        (SOME, SOME, {"documents": np.arange(50) % 2}, "found some that are apart"),
        (SOME, SOME, {"documents": np.arange(49)}, r"documents has shape \(49,\), and there are 50 samples"),
        (csr_array((50, 0)), SOME, {}, r"a must be \(samples, features\) with some of both"),
    ],
)
def test_what_does_not_fit_is_refused(a: Any, b: Any, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        feature_partners(a, b, **how)
