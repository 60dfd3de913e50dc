"""The files into which the statistics of a layer are cut hold what one file would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raycv import statistics
from raycv.analysis.information import BINS, bin_edges, encode, pairwise_information
from raycv.run.paths import information_path
from raycv.run.store import RunStore
from raycv.statistics import parts
from raycv.statistics.moments import correlation, mean, variance
from tests.support.runs import moments_of, specs, write_statistics

WIDTHS = (14, 16, 9)


@pytest.mark.parametrize("entries", [1, 40, 200, 300, 10**6])
def test_every_product_is_in_one_part_and_none_is_larger_than_it_may_be(entries: int) -> None:
    cut = parts.parts(WIDTHS, entries)
    seen = [(block.a, block.b, unit) for part in cut for block in part for unit in range(block.first, block.last)]
    assert seen == [(a, b, unit) for a in range(3) for b in range(a, 3) for unit in range(WIDTHS[a])]
    for part in cut:
        size = sum((block.last - block.first) * WIDTHS[block.b] for block in part)
        assert size <= entries or (len(part) == 1 and part[0].last - part[0].first == 1)
    others = parts.others_by_part(WIDTHS, 1, entries)
    assert [other for part in others for other in part] == [0, 2]


@pytest.mark.parametrize("entries", [40, 300])
def test_moments_in_many_files_are_read_as_from_one(
    entries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ENTRIES", entries)
    rng = np.random.default_rng(0)
    folds = [moments_of([np.maximum(rng.standard_normal((50, width)), 0) for width in WIDTHS]) for _ in range(2)]
    store = RunStore(str(tmp_path))
    write_statistics(store, specs(WIDTHS, ("conv1",)), {"conv1": folds})
    found = statistics.read(store)
    assert len(store.list("statistics/0123456789abcdef")) == 2 * len(parts.parts(WIDTHS))
    whole, swapped, sums = found.layer("conv1"), found.among("conv1", (2, 0)), found.sums("conv1")
    for fold, expected in zip(whole.folds, folds, strict=True):
        for name, values in parts.to_arrays(expected).items():
            np.testing.assert_array_equal(parts.to_arrays(fold)[name], values)
    np.testing.assert_array_equal(correlation(swapped.all, 0, 1), correlation(whole.all, 2, 0))
    np.testing.assert_array_equal(mean(sums.all), mean(whole.all))
    np.testing.assert_array_equal(variance(sums.all), variance(whole.all))
    np.testing.assert_array_equal(sums.left_out(), whole.left_out())


def test_mutual_information_in_tiles_is_that_of_all_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "INFORMATION", 70)
    rng = np.random.default_rng(0)
    samples = [np.maximum(rng.standard_normal((300, width)), 0) for width in WIDTHS]
    codes = [encode(of_net, bin_edges(of_net)) for of_net in samples]
    store = RunStore(str(tmp_path))
    write_statistics(store, specs(WIDTHS, ("conv1",)), {"conv1": [moments_of(samples)]})
    for block in parts.information_blocks(WIDTHS):
        value, corrected = pairwise_information(codes[block.a][block.first : block.last], codes[block.b], BINS)
        if block.a == block.b:
            value[:, : block.first] = corrected[:, : block.first] = -9  # stored in an earlier tile
        path = information_path("statistics/0123456789abcdef", "conv1", block.a, block.b, block.first)
        store.write_arrays(path, {"value": value, "corrected": corrected})
    for a, b in ((0, 0), (0, 1), (2, 2)):
        expected = pairwise_information(codes[a], codes[b], BINS)
        found = statistics.read(store).information("conv1", a, b)
        np.testing.assert_allclose(found["value"], expected.value, atol=1e-12)
        np.testing.assert_allclose(found["corrected"], expected.corrected, atol=1e-12)
