"""Units are tested at the rate promised, in whole images; CKA has no bias."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import raycv
from raycv.analysis.draws import scores, shuffled
from raycv.analysis.significance import Draws
from raycv.api.tested import SAMPLES, TestedSamples
from tests.support.unlike import NULLS, smooth_maps, with_copies

REPETITIONS = 3


def significant(a: np.ndarray, b: np.ndarray) -> pd.Series:
    """By unit of a, whether its partner in b counts."""
    rows = raycv.compare({"a": a.astype(np.float32), "b": b.astype(np.float32)}).matching().query("net_a == 'a'")
    return rows["q_value"] <= 0.05


@pytest.mark.parametrize("name", NULLS)
def test_networks_that_share_nothing_have_hardly_a_partner(name: str) -> None:
    rngs = [np.random.default_rng([7, seed]) for seed in range(REPETITIONS)]
    shares = [significant(NULLS[name](rng), NULLS[name](rng)).mean() for rng in rngs]
    assert sorted(shares)[1] == 0  # in two of three; `benchmarks.calibration` has the rate
    assert np.mean(shares) < 0.05


@pytest.mark.parametrize("name", [name for name in NULLS if name != "few dimensions"])
def test_planted_copies_have_partners(name: str) -> None:
    found = significant(*with_copies(NULLS[name], np.random.default_rng(1)))
    assert found[:24].mean() >= 0.95
    assert found[24:].mean() <= 0.15


def kept(images: int, positions: int, batch: int, units: int = 3) -> tuple[TestedSamples, np.ndarray]:
    rng = np.random.default_rng(0)
    values = rng.permutation(images * units * positions).reshape(images, units, positions).astype(np.float32)
    tested = TestedSamples()
    for start in range(0, images, batch):
        part = torch.from_numpy(values[start : start + batch])
        tested.update({"a": part, "b": -part})
    return tested, values


@pytest.mark.parametrize(("images", "positions"), [(7, 1), (300, 4), (300, 100), (120, 400), (25_000, 1), (12_000, 2)])
def test_whole_images_are_kept_whatever_the_batches(images: int, positions: int) -> None:
    one, values = kept(images, positions, images)
    other, _ = kept(images, positions, 97)
    for tested in (one, other):
        a, b = tested._samples("a"), tested._samples("b")
        np.testing.assert_array_equal(a, -b)
        assert min(images * positions, SAMPLES) / 4 <= len(a) <= SAMPLES
        assert set(a[:, 0].tolist()) <= set(values[:, 0].ravel().tolist())
        assert len(set(a[:, 0].tolist())) == len(a)
    if images * positions <= SAMPLES:
        np.testing.assert_array_equal(one._samples("a"), np.moveaxis(values, 1, 2).reshape(-1, 3))
    if images * positions <= SAMPLES or positions > 2:  # no image had to go
        np.testing.assert_array_equal(one._samples("a"), other._samples("a"))


def test_shuffling_keeps_the_positions_of_images_together() -> None:
    """Shuffled sample by sample, maps of unequal smoothness are far more even than they are."""
    a, b = (smooth_maps(np.random.default_rng(seed)) for seed in (0, 1))
    tested = TestedSamples()
    tested.update({"a": torch.from_numpy(a), "b": torch.from_numpy(b)})
    apart = TestedSamples()
    apart.update({name: torch.from_numpy(np.moveaxis(x, 1, 2).reshape(-1, 48)) for name, x in (("a", a), ("b", b))})

    def drawn(one: TestedSamples) -> Draws:
        of_a, of_b = (scores(one._samples(name), np.zeros(48, bool)) for name in "ab")
        return shuffled(of_a, of_b, one._strata, count=25, seed=0)[0]

    whole, single = drawn(tested), drawn(apart)
    np.testing.assert_allclose(whole.values, single.values, atol=1e-5)
    assert whole.null.mean() == pytest.approx(whole.values.mean(), rel=0.15)
    assert single.null.mean() < 0.7 * whole.values.mean()


def test_a_narrow_partner_is_nearer_than_a_wide_stranger() -> None:
    rng = np.random.default_rng(3)
    signals = rng.standard_normal((256, 64))
    near, wide = 0.7 * signals + rng.standard_normal((256, 64)), rng.standard_normal((256, 2048))
    one = {"here": signals}
    found = raycv.compare({"a": one, "b": {"near": near, "wide": wide}}, compare="all")
    nearest = found.nearest_layers().query("net_a == 'a'")
    assert nearest["layer_b"].tolist() == ["near"]
    biased = found.alignment(["linear_cka", "unbiased_cka"]).query("layer_b == 'wide'").iloc[0]
    assert abs(biased["unbiased_cka"]) < 0.03
    assert biased["linear_cka"] > 0.3


def test_cka_of_maps_is_unbiased_too() -> None:
    rng = np.random.default_rng(4)
    a, b = (smooth_maps(rng)[:16].repeat(8, axis=2) for _ in range(2))  # positions that say the same eight times
    row = raycv.compare({"a": a, "b": b}).alignment(["linear_cka", "unbiased_cka"]).iloc[0]
    assert row["linear_cka"] > 0.05
    assert abs(row["unbiased_cka"]) < 0.03


def test_rare_units_are_counted_and_may_be_kept() -> None:
    rng = np.random.default_rng(9)
    x = rng.standard_normal((800, 10))
    x[:, 2], x[:, 3] = 0, 1e-3 * x[:, 3]
    x[17, 3] = 50
    nets = {"a": x, "b": x[:, ::-1]}
    found, kept = raycv.compare(nets), raycv.compare(nets, keep_rare=True)
    heads = [repr(one).splitlines()[0] for one in (found, kept)]
    assert heads[0] == "Comparison of a and b in 800 samples, without 2 dead and 2 rare of 20 units"
    assert heads[1] == "Comparison of a and b in 800 samples, without 2 dead of 20 units"
    assert found.units()["is_rare"].tolist() == kept.units()["is_rare"].tolist()
    partners = [one.matching().query("net_a == 'a'")["unit_b"].tolist() for one in (found, kept)]
    assert partners[0] == [9, 8, -1, -1, 5, 4, 3, 2, 1, 0]
    assert partners[1] == [9, 8, -1, 6, 5, 4, 3, 2, 1, 0]
