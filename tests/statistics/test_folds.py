"""Dead and rare units against variances of the activations themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from raycv.analysis.arrays import Floats
from raycv.statistics.accumulator import Accumulator
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.moments import correlation, variance


def statistics(folds: list[Floats]) -> LayerStatistics:
    parts = []
    for fold in folds:
        accumulator = Accumulator((fold.shape[1],), np.zeros(fold.shape[1], np.float32), torch.device("cpu"))
        accumulator.add([torch.from_numpy(fold.astype(np.float32))])
        parts.append(accumulator.moments())
    return LayerStatistics(tuple(parts))


def activations() -> list[Floats]:
    """Unit 0 fires all over, 1 in two images of one fold, 2 in one image of each of two folds, 3 never."""
    x = np.zeros((400, 4))
    x[:, 0] = np.maximum(np.random.default_rng(0).standard_normal(400), 0)
    x[[10, 20], 1] = 3.0, 5.0
    x[[30, 390], 2] = 4.0, 4.0
    return np.array_split(x, 4)


def test_what_is_kept_is_the_variance_without_the_worst_fold() -> None:
    folds = activations()
    expected = [np.concatenate(folds[:f] + folds[f + 1 :]).var(0) for f in range(4)]
    whole = np.concatenate(folds).var(0)
    found = statistics(folds).kept_variance()
    np.testing.assert_allclose(found[:3], np.min(expected, axis=0)[:3] / whole[:3], atol=1e-6)
    assert np.isnan(found[3])


def test_a_unit_of_one_fold_is_dead_of_two_folds_is_kept_and_of_one_fold_mostly_is_rare() -> None:
    folds = activations()
    folds[2][7, 1] = 0.1  # a trace elsewhere, so that it is not dead without the first fold
    found = statistics(folds)
    np.testing.assert_array_equal(found.rare(), [False, True, False, False])
    np.testing.assert_array_equal(found.left_out(), [False, True, False, True])
    folds[2][7, 1] = 0
    found = statistics(folds)
    np.testing.assert_array_equal(found.dead(), [False, True, False, True])
    np.testing.assert_array_equal(found.left_out(), found.dead())
    assert not found.rare().any()


def test_one_fold_has_no_rare_units() -> None:
    whole = statistics([np.concatenate(activations())])
    np.testing.assert_allclose(whole.kept_variance()[:3], 1)
    assert not whole.rare().any()
    np.testing.assert_array_equal(whole.left_out(), [False, False, False, True])


def test_products_added_when_asked_for_are_those_of_all() -> None:
    rng = np.random.default_rng(1)
    parts = []
    for _ in range(3):
        accumulator = Accumulator((4, 3), np.zeros(7, np.float32), torch.device("cpu"))
        accumulator.add([torch.from_numpy(rng.standard_normal((50, width)).astype(np.float32)) for width in (4, 3)])
        parts.append(accumulator.moments())
    found = LayerStatistics(tuple(parts))
    np.testing.assert_array_equal(variance(found.together), variance(found.all))
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        np.testing.assert_array_equal(correlation(found.together, a, b), correlation(found.all, a, b))


def test_of_few_samples_no_unit_is_rare() -> None:
    """Of 8 normal samples one in four units would be."""
    x = np.random.default_rng(2).standard_normal((64, 500))
    few, enough = (statistics(np.array_split(x[:count], 8)) for count in (32, 64))
    eighth = statistics(np.array_split(x[:8], 8))
    assert (eighth.kept_variance() < 0.2).any()
    for found in (eighth, few, enough):
        assert not found.left_out().any()


def test_rare_units_may_be_kept() -> None:
    folds = activations()
    folds[2][7, 1] = 0.1
    kept = replace(statistics(folds), keep_rare=True)
    np.testing.assert_array_equal(kept.rare(), [False, True, False, False])
    np.testing.assert_array_equal(kept.left_out(), [False, False, False, True])
