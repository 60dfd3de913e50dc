"""`raycv.Moments` against NumPy in float64, however samples are cut, ordered and merged."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import raycv
from raycv.analysis.arrays import Floats
from raycv.errors import UserError
from raycv.statistics.moments import variance


def activations(seed: int, samples: int = 400) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((samples, 6))
    return {name: common @ rng.standard_normal((6, s)) + rng.standard_normal((samples, s)) + 30 for name, s in WIDTHS}


WIDTHS = (("a", 7), ("b", 5), ("c", 1))


def numpy_correlation(x: Floats, y: Floats) -> Floats:
    found: Floats = np.corrcoef(x, y, rowvar=False)[: x.shape[1], x.shape[1] :]
    return found


@given(st.integers(0, 10**6), st.lists(st.integers(0, 400), max_size=5), st.integers(1, 3))
def test_any_cut_order_and_merge_gives_numpys_correlations(seed: int, cuts: list[int], processes: int) -> None:
    nets = activations(seed)
    order = np.random.default_rng(seed).permutation(400)
    parts = [raycv.Moments() for _ in range(processes)]
    for number, chosen in enumerate(np.split(order, sorted(cuts))):
        parts[number % processes].update(chosen, **{name: values[chosen] for name, values in nets.items()})
    merged, *others = (pickle.loads(pickle.dumps(part)) for part in parts)
    for other in others:
        merged.merge(other)
    assert merged.samples == 400
    for a, b in (("a", "b"), ("b", "a"), ("c", "a"), ("a", "a")):
        np.testing.assert_allclose(merged.correlation(a, b), numpy_correlation(nets[a], nets[b]), atol=1e-11)
    whole = raycv.Moments()
    whole.update(np.arange(400), **nets)
    counts = [fold.count for fold in merged.statistics.folds]
    assert counts == [fold.count for fold in whole.statistics.folds]  # an id decides the fold
    assert len(counts) == 8


def test_single_precision_is_within_five_millionths() -> None:
    nets = {name: values.astype(np.float32) for name, values in activations(1, 20_000).items()}
    moments = raycv.Moments()
    for start in range(0, 20_000, 3000):
        part = slice(start, start + 3000)
        moments.update(None, a=torch.from_numpy(nets["a"][part]), b=nets["b"][part].astype(np.float16))
    expected = numpy_correlation(nets["a"].astype(float), nets["b"].astype(np.float16).astype(float))
    np.testing.assert_allclose(moments.correlation("a", "b"), expected, atol=5e-6)


def two_pass(x: Floats, y: Floats) -> Floats:
    """Correlations in extended precision, each unit scaled to its own size first."""
    scores = []
    for values in (x, y):
        exact = values.astype(np.longdouble)
        exact = exact / np.maximum(np.abs(exact).max(0), np.finfo(np.longdouble).tiny)
        exact = exact - exact.mean(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            scores.append(exact / np.sqrt((exact**2).mean(0)))
    return np.asarray(scores[0].T @ scores[1] / len(x), dtype=float)


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["<f4", ">f4", "<f2", "<f8", ">f8", "<i2", "<i4", ">i4", "<i8"]),
    scale=st.integers(-40, 37),
    offset=st.floats(-7, 7),
    step=st.sampled_from([0.0, 0.0, 100.0, 1e4]),
    batch=st.sampled_from([50, 1500]),
)
def test_any_finite_activations_are_within_five_millionths(
    seed: int, kind: str, scale: int, offset: float, step: float, batch: int
) -> None:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((1500, 3))
    values = common @ rng.standard_normal((3, 4)) + rng.standard_normal((1500, 4))
    values[:, 1] = np.maximum(values[:, 1] - 1, 0)  # seldom fires
    values[40:] += step * (np.arange(4) == 2)  # was silent in the first samples
    values += np.sign(offset) * 10 ** abs(offset) * (np.arange(4) == 3)
    dtype = np.dtype(kind)
    if dtype.kind == "f" and dtype.itemsize > 2:
        values *= 10.0 ** (scale if dtype.itemsize == 4 else 3 * scale)
    values = np.clip(values, *((np.finfo(dtype).min, np.finfo(dtype).max) if dtype.kind == "f" else (-3e4, 3e4)))
    if dtype.kind == "i":
        values = (values * 30).round() if dtype.itemsize > 2 else values.round()
    x = values.astype(dtype)
    moments = raycv.Moments()
    for start in range(0, 1500, batch):
        moments.update(None, a=x[start : start + batch], b=x[start : start + batch, ::-1])
    expected = two_pass(x, x[:, ::-1])
    found = moments.correlation("a", "b")
    varies = np.ptp(x.astype(np.longdouble), axis=0) > 0
    np.testing.assert_array_equal(np.isnan(found), ~np.outer(varies, varies[::-1]))
    np.testing.assert_allclose(found[np.ix_(varies, varies[::-1])], expected[np.ix_(varies, varies[::-1])], atol=5e-6)


def test_numbers_too_large_for_squares_are_refused() -> None:
    with pytest.raises(ValueError, match="'a' go up to 1e.200, and numbers above 1e.150 have no squares; divide them"):
        raycv.Moments().update(None, a=np.full((5, 2), 1e200))
    with pytest.raises(UserError, match="'a' holds integers beyond 2.53, .*; subtract a constant from each unit first"):
        raycv.Moments().update(None, a=np.array([[2**60, 1], [2**60 + 1, 2]]))


def test_positions_are_samples() -> None:
    x, y = (np.random.default_rng(seed).standard_normal((50, s, 4, 3)) for seed, s in ((0, 6), (1, 2)))
    moments = raycv.Moments()
    moments.update([f"image {n}" for n in range(50)], a=x, b=y)
    flat = [values.transpose(0, 2, 3, 1).reshape(600, -1) for values in (x, y)]
    np.testing.assert_allclose(moments.correlation("a", "b"), numpy_correlation(*flat), atol=1e-12)
    assert moments.samples == 600
    assert repr(moments) == "Moments of 600 samples: a (6 units), b (2 units)"


def test_constant_units_have_no_correlation() -> None:
    x = np.random.default_rng(0).standard_normal((100, 3))
    x[:, 1] = 4
    moments = raycv.Moments()
    moments.update(None, a=x)
    np.testing.assert_array_equal(np.isnan(moments.correlation("a", "a")).any(1), [True, True, True])
    np.testing.assert_array_equal(np.isnan(np.diagonal(moments.correlation("a", "a"))), [False, True, False])


@pytest.mark.parametrize(
    ("ids", "given", "message"),
    [
        (None, {}, "there are no activations"),
        (None, {"a": np.zeros(5)}, r"have shape \(samples, units, ...\), 'a' has \(5,\)"),
        (None, {"a": np.zeros((5, 2)), "b": np.zeros((4, 2))}, "same samples; 'b' has 4 and 'a' 5"),
        (None, {"a": np.zeros((5, 2)), "b": np.zeros((5, 2, 3))}, "same positions; 'a' has 1 and 'b' 3"),
        ([1, 2], {"a": np.zeros((5, 2))}, r"5 samples and ids of shape \(2,\)"),
        (None, {"a": np.full((5, 2), np.nan)}, "'a' are not all finite"),
        (None, {"a": np.zeros((5, 2), complex)}, "'a' has torch.complex128"),
        (None, {"a": np.zeros((5, 3)), "b": np.zeros((5, 2))}, r"of a \(2 units\), found a \(3 units\), b"),
    ],
)
def test_what_does_not_fit_is_refused_and_adds_nothing(ids: object, given: dict[str, Floats], message: str) -> None:
    moments = raycv.Moments()
    if "of a" in message:
        moments.update(None, a=np.zeros((5, 2)))
    before = moments.samples
    with pytest.raises(ValueError, match=message):
        moments.update(ids, **given)  # type: ignore[arg-type]
    assert moments.samples == before


@pytest.mark.parametrize("ids", [None, [1, 2]])
def test_a_first_batch_that_is_refused_leaves_no_trace(ids: list[int] | None) -> None:
    x = activations(3)["a"]
    moments = raycv.Moments()
    with pytest.raises(ValueError, match="not all finite|ids of shape"):
        moments.update(ids, other=np.full((5, 2), np.nan) if ids is None else np.zeros((5, 2)))
    moments.update(None, a=x)
    np.testing.assert_allclose(moments.correlation("a", "a"), numpy_correlation(x, x), atol=1e-11)


def test_moments_of_others_are_not_merged_and_unknown_members_refused() -> None:
    one, other = raycv.Moments(), raycv.Moments()
    with pytest.raises(ValueError, match="two or more samples"):
        _ = one.statistics
    one.update(None, a=np.zeros((5, 2)))
    other.update(None, b=np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"of a \(2 units\), those to be merged of b"):
        one.merge(other)
    with pytest.raises(ValueError, match="no member 'z'; there are a"):
        one.correlation("a", "z")


def test_single_units_have_eight_folds_at_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that fires in three images is judged alike in a narrow layer and in one whose products are too large."""
    monkeypatch.setattr("raycv.statistics.folding.MOST_BYTES", 2**20)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((300, 1030)).astype(np.float32)
    alone = raycv.Moments()
    alone.update(None, a=x[:, :1])
    assert len(alone.statistics.folds) == 8
    x[:, 0] = 0
    x[[3, 140, 290], 0] = 2, 2, 2  # of different folds or of one, as it comes
    parts = [raycv.Moments(), raycv.Moments()]
    narrow = raycv.Moments()
    for start in range(0, 300, 50):
        ids = np.arange(start, start + 50)
        narrow.update(ids, a=x[ids, :20])
        parts[start // 50 % 2].update(ids, a=x[ids])
    wide, other = (pickle.loads(pickle.dumps(part)) for part in parts)
    wide.merge(other)
    found, expected = wide.statistics, narrow.statistics
    assert (len(found.folds), len(found.finer), len(expected.folds), len(expected.finer)) == (2, 8, 8, 0)
    assert [fold.count for fold in found.finer] == [fold.count for fold in expected.folds]
    np.testing.assert_allclose(found.kept_variance()[:20], expected.kept_variance(), rtol=1e-5)
    np.testing.assert_array_equal(found.left_out()[:20], expected.left_out())
    np.testing.assert_allclose(np.sqrt(variance(found.sums.all)), x.std(0, dtype=np.float64), rtol=1e-5)


def test_positions_of_an_image_are_in_one_fold_however_it_comes() -> None:
    x = np.random.default_rng(6).standard_normal((90, 3, 16)).astype(np.float32)
    whole, cut = raycv.Moments(), raycv.Moments()
    whole.update(None, a=x)
    for start in range(0, 90, 7):
        cut.update(None, a=x[start : start + 7])
    counts = [fold.count for fold in whole.statistics.folds]
    assert counts == [fold.count for fold in cut.statistics.folds]
    assert all(count % 16 == 0 for count in counts)
