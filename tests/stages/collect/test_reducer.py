"""The reduction of fully connected layers against NumPy in float64."""

from __future__ import annotations

import numpy as np
import torch

from raycv.run.paths import NETS, Key
from raycv.stages.collect.reducer import reduce_part, reduce_sums
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.moments import covariance, mean, variance
from raycv.statistics.parts import added, cut, from_arrays, parts, to_arrays

KEY = Key(NETS, "fc6")
WIDTHS = (90, 70)
FOLDS, SHARDS, ROWS = 4, 3, 500
CPU = torch.device("cpu")


def activations() -> np.ndarray:
    """(FOLDS, SHARDS, ROWS, units) float32: of each network, unit 0 fires in one image and hardly in any other."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((FOLDS, SHARDS, ROWS, sum(WIDTHS))) + rng.uniform(-2, 9, sum(WIDTHS)), 0)
    for unit in (0, WIDTHS[0]):
        x[..., unit] = 0
        x[1, 2, 7, unit] = 3.1
        x[2, 0, [5, 8], unit] = 1.1e-3, 2.3e-3
    return x.astype(np.float32)


def reduced(x: np.ndarray, pilot: np.ndarray) -> LayerStatistics:
    nets = np.split(x, [WIDTHS[0]], axis=-1)
    folds = [
        [{f"rows/{KEY}/{n}": net[fold, shard] for n, net in enumerate(nets)} for shard in range(SHARDS)]
        for fold in range(FOLDS)
    ]
    of_nets = np.split(pilot, [WIDTHS[0]])
    (part,) = parts(WIDTHS)
    reduced = [reduce_part(fold, KEY, part, of_nets, torch.device("cpu")) for fold in folds]
    return LayerStatistics(tuple(from_arrays(arrays, WIDTHS, (0, 1)) for arrays in reduced))


def test_moments_without_any_fold_keep_the_digits_of_rare_units() -> None:
    x = activations()
    pilot = x[0, 0, :32].mean(0) + np.float32(0.01)  # no unit's mean exactly
    found = reduced(x, pilot)
    for fold, moments in enumerate(found.without_each()):
        others = np.delete(x, fold, axis=0).reshape(-1, sum(WIDTHS)).astype(np.float64)
        assert moments.count == len(others)
        np.testing.assert_allclose(variance(moments), others.var(0), rtol=1e-8)
        np.testing.assert_allclose(mean(moments), others.mean(0), rtol=1e-9)
        expected = np.cov(others, rowvar=False, bias=True)[: WIDTHS[0], WIDTHS[0] :]
        np.testing.assert_allclose(covariance(moments, 0, 1), expected, atol=1e-10)
        np.testing.assert_array_equal(moments.active, (others > 0).sum(0))
    np.testing.assert_array_equal(np.flatnonzero(found.rare()), [0, WIDTHS[0]])
    assert variance(list(found.without_each())[1])[0] < 1e-8


def test_sums_alone_are_those_of_all_products() -> None:
    x = activations()[0]
    pilot = x[0].mean(0)
    of_nets = np.split(pilot, [WIDTHS[0]])
    shards = [np.split(rows, [WIDTHS[0]], axis=-1) for rows in x]
    rows = [{f"rows/{KEY}/{n}": net for n, net in enumerate(nets)} for nets in shards]
    (whole,) = parts(WIDTHS)
    expected = reduce_part(rows, KEY, whole, of_nets, CPU)
    with_positions = [
        {f"moments/{KEY}/{name}": values for name, values in reduce_part([one], KEY, whole, of_nets, CPU).items()}
        for one in rows
    ]
    for partials in (rows, with_positions):
        found = reduce_sums(partials, KEY, of_nets, CPU)
        assert set(found) == {name for name in expected if "-" not in name}
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_parts_hold_what_the_whole_holds() -> None:
    x = activations()[0]
    pilot = x[0].mean(0)
    of_nets = np.split(pilot, [WIDTHS[0]])
    partials = [{f"rows/{KEY}/{n}": net for n, net in enumerate(np.split(rows, [WIDTHS[0]], axis=-1))} for rows in x]
    (whole,) = parts(WIDTHS)
    expected = reduce_part(partials, KEY, whole, of_nets, torch.device("cpu"))
    cut_up = parts(WIDTHS, entries=2500)
    assert [len(part) for part in cut_up] == [1, 1, 1, 1, 1, 1, 1, 1, 1]
    found = [reduce_part(partials, KEY, part, of_nets, torch.device("cpu")) for part in cut_up]
    for name, values in expected.items():
        pieces = [of_part[name] for of_part in found if name in of_part]
        joined = pieces[0] if name == "count" else np.concatenate(pieces)
        np.testing.assert_allclose(joined, values, rtol=1e-12)
    moments = from_arrays(dict(expected), WIDTHS, (0, 1))  # layers with positions come as whole moments
    for part, of_part in zip(cut_up, found, strict=True):
        again = cut(to_arrays(moments), "", part)
        assert again.keys() == of_part.keys()
        twice = added(added(None, again), again)
        for name, values in of_part.items():
            same = name.endswith(("pilot", "minimum", "maximum"))
            np.testing.assert_allclose(twice[name], values if same else 2 * values, rtol=1e-12)


def test_extremes_are_those_of_the_rows() -> None:
    x = activations()
    pilot = np.zeros(sum(WIDTHS), np.float32)
    whole = reduced(x, pilot).all
    rows = x.reshape(-1, sum(WIDTHS))
    np.testing.assert_array_equal(whole.minimum, rows.min(0))
    np.testing.assert_array_equal(whole.maximum, rows.max(0))
