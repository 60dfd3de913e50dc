"""Bins, codes, counts and information against numpy, scikit-learn and theorems."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import multivariate_normal, norm
from sklearn.metrics import mutual_info_score

from raycv.analysis import information as module
from raycv.analysis.histograms import joint_histograms
from raycv.analysis.information import (
    bin_edges,
    encode,
    estimate_information,
    information,
    mutual_information,
    pairwise_information,
    shifted,
)


def activations(seed: int, samples: int = 2000, units: int = 6) -> np.ndarray:
    """Rectified samples (samples, units) float32 with mostly zero, mixed, dense, tied and dead units."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((samples, 1))
    values = np.maximum(shared + rng.standard_normal((samples, units)) + np.linspace(-3, 3, units), 0)
    values[:, 1] = np.round(values[:, 1], 1)
    values[:, -1] = 0
    return values.astype(np.float32)


def brute_force(codes_a: np.ndarray, codes_b: np.ndarray, bins: int) -> np.ndarray:
    edges = np.arange(bins + 1)
    return np.array([[np.histogram2d(a, b, bins=[edges, edges])[0] for b in codes_b] for a in codes_a])


def sklearn_information(codes_a: np.ndarray, codes_b: np.ndarray) -> np.ndarray:
    return np.array([[mutual_info_score(a, b) for b in codes_b] for a in codes_a])


@st.composite
def coded_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Codes of two sides, some of them mostly 0, and the number of bins."""
    bins = draw(st.integers(1, 40))
    samples = draw(st.integers(1, 300) | st.sampled_from([2048, 4099]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sides = []
    for _ in range(2):
        codes = rng.integers(0, bins, (draw(st.integers(1, 4)), samples))
        codes[rng.random(codes.shape) < draw(st.sampled_from([0, 0.3, 0.9]))] = 0
        sides.append(codes.astype(np.uint8))
    return sides[0], sides[1], bins


class TestBins:
    def test_a_bin_is_a_twentieth_of_the_samples(self) -> None:
        samples = np.random.default_rng(0).uniform(1, 2, (60_000, 3)).astype(np.float32)
        codes = encode(samples, bin_edges(samples))
        for unit in codes:
            assert np.bincount(unit, minlength=21).tolist() == [0] + [3000] * 20

    def test_edges_are_numpys_percentiles_raised_to_zero(self) -> None:
        samples = activations(1)
        percentiles = np.quantile(samples, np.arange(1, 20) / 20, axis=0, method="inverted_cdf").T
        expected = np.maximum(np.c_[np.full(len(percentiles), -np.inf), percentiles], 1e-6)
        np.testing.assert_array_equal(bin_edges(samples), expected)

    def test_the_special_bin_is_closed_at_zero_and_takes_the_percentiles_below(self) -> None:
        zero = np.float32(0.5)
        samples = np.array([[0], [0], [zero], [np.nextafter(zero, np.float32(1))], [3]], np.float32)
        codes = encode(samples, bin_edges(samples, bin_mass=0.2, zero=0.5))
        assert codes[0, :3].tolist() == [0, 0, 0]
        assert 0 < codes[0, 3] < codes[0, 4]

    def test_units_that_are_not_rectified_have_percentile_bins_alone(self) -> None:
        x = np.random.default_rng(0).standard_normal((60_000, 1))
        units = np.hstack([x, -np.abs(x), np.exp(20 * x - 60), np.maximum(x, 0) - 0.5]).astype(np.float32)
        codes = encode(units, bin_edges(units))
        for unit in codes[:3]:  # both signs; never positive; probabilities, nearly all below 1e-6
            assert np.bincount(unit, minlength=21).tolist() == [0] + [3000] * 20
        at_minimum = units[:, 3] == -0.5  # rectified and shifted: what is at its minimum has a bin of its own
        assert len(set(codes[3][at_minimum])) == 1
        assert set(codes[3][at_minimum]).isdisjoint(codes[3][~at_minimum])

    @given(arrays.arrays(np.float32, (37, 2), elements=st.floats(-1, 3, width=32)), st.sampled_from([1, 4, 20]))
    def test_a_code_is_the_number_of_edges_below(self, samples: np.ndarray, bins: int) -> None:
        edges = bin_edges(samples, bin_mass=1 / bins)
        expected = [np.searchsorted(e, column, side="left") for e, column in zip(edges, samples.T, strict=True)]
        np.testing.assert_array_equal(encode(samples, edges), expected)

    def test_many_units_and_half_precision(self) -> None:
        samples = activations(3, samples=300, units=150).astype(np.float16)
        whole = encode(samples, bin_edges(samples))
        wide = samples.astype(np.float64)
        np.testing.assert_array_equal(whole, encode(wide, bin_edges(wide)))
        np.testing.assert_array_equal(whole[140:141], encode(wide[:, 140:141], bin_edges(wide)[140:141]))

    @pytest.mark.parametrize("bin_mass", [0, -0.1, 0.07, 2, 1 / 256, np.nan])
    def test_bin_masses_that_do_not_fill_one_are_refused(self, bin_mass: float) -> None:
        with pytest.raises(ValueError, match="bin_mass"):
            bin_edges(activations(0), bin_mass=bin_mass)

    @pytest.mark.parametrize(
        ("samples", "message"),
        [
            (np.array([[1, np.nan]]), "NaN or infinite"),
            (np.array([[1, np.inf]]), "NaN or infinite"),
            (np.ones(3), "shape"),
            (np.array([["a"]]), "<U1"),
            (np.ones((0, 3)), "no samples"),
        ],
    )
    def test_samples_that_are_no_activations_are_refused(self, samples: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            bin_edges(samples)

    def test_edges_of_other_units_are_refused(self) -> None:
        with pytest.raises(ValueError, match="same units"):
            encode(activations(0), bin_edges(activations(0))[:-1])


class TestHistograms:
    @given(coded_pairs())
    def test_counts_equal_numpys_exactly(self, case: tuple[np.ndarray, np.ndarray, int]) -> None:
        codes_a, codes_b, bins = case
        counts = joint_histograms(codes_a, codes_b, bins)
        np.testing.assert_array_equal(counts, brute_force(codes_a, codes_b, bins))
        products = joint_histograms(torch.from_numpy(codes_a), torch.from_numpy(codes_b), bins)
        np.testing.assert_array_equal(products, counts)
        np.testing.assert_array_equal(joint_histograms(codes_b, codes_a, bins), counts.transpose(1, 0, 3, 2))

    def test_counts_above_what_float16_holds_are_exact(self) -> None:
        codes = np.zeros((1, 5001), np.uint8)
        assert joint_histograms(torch.from_numpy(codes), torch.from_numpy(codes), 2)[0, 0, 0, 0] == 5001

    @pytest.mark.parametrize("bins", [21, 256])
    def test_all_codes_up_to_the_last(self, bins: int) -> None:
        codes = np.random.default_rng(0).integers(0, bins, (2, 5000), np.uint8)
        np.testing.assert_array_equal(joint_histograms(codes, codes, bins), brute_force(codes, codes, bins))

    @given(st.lists(st.integers(0, 2000), max_size=5), st.randoms(use_true_random=False))
    def test_counts_of_shards_add_up_in_any_order(self, cuts: list[int], random: object) -> None:
        codes = encode(activations(4), bin_edges(activations(4)))
        parts = np.split(codes, sorted(cuts), axis=1)
        random.shuffle(parts)  # type: ignore[attr-defined]
        merged = sum(joint_histograms(part, part, 21) for part in parts)
        np.testing.assert_array_equal(merged, joint_histograms(codes, codes, 21))

    @pytest.mark.parametrize(
        ("codes_a", "codes_b", "bins", "message"),
        [
            (np.zeros((1, 4), np.uint8), np.full((1, 4), 21, np.uint8), 21, "codes_b holds code 21"),
            (np.zeros((1, 4), np.uint8), np.zeros((1, 5), np.uint8), 21, "4 samples and codes_b 5"),
            (np.zeros((1, 4), np.int64), np.zeros((1, 4), np.uint8), 21, "codes_a are int64"),
            (torch.zeros(1, 4), torch.zeros(1, 4), 21, "codes_a are torch.float32"),
            (np.zeros(4, np.uint8), np.zeros((1, 4), np.uint8), 21, "shape"),
            (np.zeros((1, 4), np.uint8), np.zeros((1, 4), np.uint8), 257, "bins is 257"),
            (np.zeros((1, 4), np.uint8), torch.zeros((1, 4), dtype=torch.uint8), 21, "both"),
        ],
    )
    def test_codes_that_cannot_be_counted_are_refused(
        self, codes_a: np.ndarray, codes_b: np.ndarray, bins: int, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            joint_histograms(codes_a, codes_b, bins)


class TestInformation:
    @given(coded_pairs())
    def test_equals_scikit_learn(self, case: tuple[np.ndarray, np.ndarray, int]) -> None:
        codes_a, codes_b, bins = case
        found = information(joint_histograms(codes_a, codes_b, bins))
        np.testing.assert_allclose(found.value, sklearn_information(codes_a, codes_b), rtol=0, atol=1e-12)
        entropies = [miller_madow_entropies(codes) for codes in (codes_a, codes_b)]
        pairs = np.array([miller_madow_entropies(a.astype(int) * bins + codes_b) for a in codes_a])
        expected = entropies[0][:, None] + entropies[1] - pairs
        np.testing.assert_allclose(found.corrected, expected, rtol=0, atol=1e-12)

    def test_samples_to_information(self) -> None:
        a, b = activations(5), activations(5)[:, ::-1]
        codes_a, codes_b = (encode(x, bin_edges(x, bin_mass=0.1, zero=0.2)) for x in (a, b))
        found = mutual_information(a, b, bin_mass=0.1, zero=0.2)
        np.testing.assert_allclose(found, sklearn_information(codes_a, codes_b), rtol=0, atol=1e-12)

    def test_a_dead_unit_shares_nothing_at_all(self) -> None:
        found = estimate_information(activations(6), activations(6))
        assert not found.value[-1].any()
        assert not found.value[:, -1].any()
        assert not found.corrected[-1].any()

    def test_dependence_that_correlation_cannot_see(self) -> None:
        x = np.random.default_rng(7).uniform(-1, 1, (20_000, 1))
        y, z = x**2 + 1, np.random.default_rng(8).random((20_000, 1))
        assert abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]) < 0.03
        found = estimate_information(x + 2, np.hstack([y, z]), bin_mass=0.05)
        assert found.value[0, 0] > 2
        # Miller–Madow takes away the bias (bins - 1)² / 2n of independent units.
        assert found.value[0, 1] == pytest.approx(19**2 / 40_000, rel=0.3)
        assert abs(found.corrected[0, 1]) < 0.3 * found.value[0, 1]

    def test_a_unit_tells_all_of_itself_whatever_its_scale(self) -> None:
        samples = np.random.default_rng(9).uniform(1, 2, (2000, 1))
        found = mutual_information(samples, np.hstack([samples, 5 * samples**3]))
        np.testing.assert_allclose(found, np.log(20), atol=1e-12)

    def test_a_unit_and_its_negative_tell_all_of_each_other(self) -> None:
        x = np.random.default_rng(9).standard_normal((60_000, 1))
        np.testing.assert_allclose(mutual_information(x, np.hstack([x, -x])), np.log(20), atol=0.01)

    @pytest.mark.parametrize("rho", [0.6, 0.9])
    def test_correlated_gaussians_have_the_known_information(self, rho: float) -> None:
        rng = np.random.default_rng(10)
        x, noise = rng.standard_normal((2, 60_000, 1))
        found = estimate_information(x, rho * x + np.sqrt(1 - rho**2) * noise)
        edges = np.array([-9, *norm.ppf(np.arange(1, 20) / 20), 9])
        below = multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf(np.stack(np.meshgrid(edges, edges), -1))
        cells = np.maximum(np.diff(np.diff(below, axis=0), axis=1), 1e-300)
        exact = (cells * np.log(cells * 20 * 20)).sum()
        assert 0.2 < exact < -0.5 * np.log(1 - rho**2)  # binning loses a little
        assert found.corrected.item() == pytest.approx(exact, abs=0.006)

    def test_permuting_units_or_samples_permutes_the_answer(self) -> None:
        a, b = activations(11), activations(11, units=5)
        rng = np.random.default_rng(0)
        rows, columns, samples = rng.permutation(6), rng.permutation(5), rng.permutation(len(a))
        permuted = mutual_information(a[samples][:, rows], b[samples][:, columns])
        np.testing.assert_array_equal(permuted, mutual_information(a, b)[np.ix_(rows, columns)])

    def test_shifted_samples_share_only_the_bias_of_chance(self) -> None:
        samples = activations(12, samples=20_000)[:, 2:4]
        codes = encode(samples, bin_edges(samples))
        assert pairwise_information(codes, codes, 21).value[0, 1] > 0.05
        null = pairwise_information(codes, shifted(codes), 21)
        assert null.value.max() < 0.02
        assert abs(null.corrected).max() < 0.004
        assert sorted(shifted(codes)[0]) == sorted(codes[0])
        assert (shifted(np.arange(6, dtype=np.uint8)[None]) == [[3, 4, 5, 0, 1, 2]]).all()

    def test_counts_that_do_not_belong_together_are_refused(self) -> None:
        good = joint_histograms(np.zeros((2, 9), np.uint8), np.zeros((2, 9), np.uint8), 3)
        for wrong, message in (
            (good.astype(float), "float64"),
            (good[0], "shape"),
            (good * 0, "at least one"),
        ):
            with pytest.raises(ValueError, match=message):
                information(wrong)
        good[1, 1, 2, 2] += 1
        with pytest.raises(ValueError, match="add up to 9 samples"):
            information(good)
        good[1, 1, 2, 2] -= 2
        good[1, 1, 1, 1] += 1
        with pytest.raises(ValueError, match="negative"):
            information(good)


class TestPairwise:
    @pytest.fixture
    def threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        yield
        torch.set_num_threads(before)

    @pytest.fixture
    def codes(self) -> np.ndarray:
        samples = activations(13, samples=500, units=10)
        return encode(samples, bin_edges(samples))

    @pytest.mark.parametrize("size", [1, 3, 4, 64])
    def test_tiles_and_threads_change_nothing(
        self, codes: np.ndarray, size: int, monkeypatch: pytest.MonkeyPatch, threads: None
    ) -> None:
        whole = information(joint_histograms(codes, codes[:7], 21))
        monkeypatch.setattr(module, "CPU_TILE", size)
        monkeypatch.setattr(module, "GPU_TILE", size)
        for count in (1, 3):
            torch.set_num_threads(count)
            np.testing.assert_array_equal(pairwise_information(codes, codes[:7], 21), whole)
        tensor = torch.from_numpy(codes)
        np.testing.assert_allclose(pairwise_information(tensor, tensor[:7], 21), whole, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("size", [3, 64])
    def test_within_a_network_the_answer_is_symmetric_to_the_bit(
        self, codes: np.ndarray, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "CPU_TILE", size)
        within, between = (
            pairwise_information(codes, codes, 21),
            pairwise_information(codes, codes.copy(), 21),
        )
        tensor = torch.from_numpy(codes)
        for of_one in (within, pairwise_information(tensor, tensor, 21)):
            for a, b in zip(of_one, between, strict=True):
                np.testing.assert_array_equal(a, a.T)
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)

    def test_torch_codes_of_constant_and_copied_units(self) -> None:
        """No information of a unit in one bin; of a unit with itself its entropy."""
        codes = torch.zeros(2, 6, dtype=torch.uint8)
        codes[1] = torch.arange(6)
        found = pairwise_information(codes, codes, 6)
        np.testing.assert_allclose(found.value, [[0, 0], [0, np.log(6)]], atol=1e-13)
        for of_device, of_numpy in zip(found, pairwise_information(codes.numpy(), codes.numpy(), 6), strict=True):
            np.testing.assert_allclose(of_device, of_numpy, atol=1e-13)

    def test_a_wrong_pairing_is_refused(self, codes: np.ndarray) -> None:
        with pytest.raises(ValueError, match="500 samples and codes_b 499"):
            pairwise_information(codes, codes[:, 1:], 21)
        with pytest.raises(ValueError, match="at least one"):
            pairwise_information(codes[:, :0], codes[:, :0], 21)
        with pytest.raises(ValueError, match="at least one"):
            pairwise_information(torch.from_numpy(codes[:, :0]), torch.from_numpy(codes[:, :0]), 21)


def miller_madow_entropies(codes: np.ndarray) -> np.ndarray:
    """Entropy in nats of each row of codes, plus (bins that occur - 1) / 2n."""
    result = []
    for row in codes:
        counts = np.unique_counts(row).counts
        p = counts / counts.sum()
        result.append(-(p * np.log(p)).sum() + (len(p) - 1) / (2 * len(row)))
    return np.array(result)
