"""The study's own null: networks that share as much at every width, by an independent simulation."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch

from raycv.analysis.arrays import Floats
from raycv.analysis.nulls import best_correlation, effective_dimension, rotated
from raycv.analysis.prerelu import rotated_before_relu
from raycv.analysis.sharing import LEVELS, QUANTITIES, at_constant, latents_of, shared
from raycv.run.schema import GROWING, WITH_NULL
from raycv.stages.study.rows import Combination, Quantity, at_constant_sharing, slope_rows

LATENTS, WIDTHS, NETWORKS, SHARED = 24, (16, 32, 64), 4, 0.7


def networks(rng: np.random.Generator, units: int) -> list[Floats]:
    """Before their ReLU (1500, units): every two have .7 of each unit in common, and latents that they all see."""
    latents = rng.standard_normal((1500, LATENTS))
    common, *own = (latents @ rng.standard_normal((LATENTS, units)) / np.sqrt(LATENTS) for _ in range(NETWORKS + 1))
    return [np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * net for net in own]


def of_pair(a: Floats, b: Floats, seed: int) -> Floats:
    """Correlation, excess over units mixed after the ReLU, and before it."""
    units = a.shape[1]
    every = np.corrcoef(np.maximum(a, 0), np.maximum(b, 0), rowvar=False)
    cross, best = every[:units, units:], best_correlation(every[:units, units:]).mean()
    after = rotated(cross, every[units:, units:], rotations=3, seed=seed, device="cpu").mean
    mixed = rotated_before_relu(torch.from_numpy(b), seed=seed).numpy()
    before = best_correlation(np.corrcoef(np.maximum(a, 0), mixed, rowvar=False)[:units, units:]).mean()
    return np.array([best, best - after, best - before])


def study(seed: int) -> list[Combination]:
    """One study of a layer whose units share as much at every width."""
    rng, found = np.random.default_rng(seed), []
    for units in WIDTHS:
        nets = networks(rng, units)
        pairs = {(a, b): of_pair(nets[a], nets[b], seed) for a, b in permutations(range(NETWORKS), 2)}
        without = [np.mean([value for pair, value in pairs.items() if n not in pair], axis=0) for n in range(NETWORKS)]
        mean = np.mean(list(pairs.values()), axis=0)
        measured = {
            ("conv1", name): Quantity(float(mean[at]), np.array([one[at] for one in without]))
            for at, name in enumerate(QUANTITIES)
        }
        dimension = np.mean([effective_dimension(np.corrcoef(np.maximum(net, 0), rowvar=False)) for net in nets])
        rows = pd.DataFrame([{"layer": "conv1", "units": units, "effective_dimension": dimension}])
        found.append(Combination(units, 1000, rows, measured))
    return found


@pytest.mark.slow
def test_slopes_beyond_the_null_cover_zero_where_nothing_changes() -> None:
    studies = [study(seed) for seed in range(12)]
    curves = [shared(units, LATENTS, is_rectified=True) for units in WIDTHS]
    found = []
    for combinations in studies:
        nulls = {
            ("conv1", name): at_constant(
                [curve[name] for curve in curves], [one.measured["conv1", name].value for one in combinations]
            )
            for name in QUANTITIES
        }
        found.append(slope_rows(combinations, nulls))
    rows = pd.concat(found).groupby("quantity")
    covered = rows.apply(lambda of: float(((of["beyond_low"] <= 0) & (of["beyond_high"] >= 0)).mean()))
    assert (covered[list(QUANTITIES)] >= 0.75).all(), covered
    assert rows["beyond"].mean()[list(QUANTITIES)].abs().max() < 0.01
    nulls_of = rows["null_slope"].mean()  # without it something would seem to change, up or down
    assert nulls_of["excess"] > 0.005
    assert nulls_of["prerelu_excess"] < -0.005


@pytest.mark.slow
def test_a_whole_study_finds_the_latents_and_the_level_itself() -> None:
    combinations = study(0)
    nulls = at_constant_sharing(combinations)
    assert set(nulls) == {("conv1", name) for name in QUANTITIES}
    for (_, name), values in nulls.items():
        measured = [one.measured["conv1", name].value for one in combinations]
        assert values.mean() == pytest.approx(np.mean(measured), abs=0.005)
        np.testing.assert_allclose(values, measured, atol=0.03)


@pytest.mark.slow
def test_without_an_effective_dimension_there_is_no_null_and_without_relu_none_before_it() -> None:
    combinations = study(0)
    unknown = [replace(one, rows=one.rows.assign(effective_dimension=np.nan)) for one in combinations]
    assert not at_constant_sharing(unknown)
    nothing = {("conv1", "prerelu_excess"): Quantity(np.nan, np.full(NETWORKS, np.nan))}
    logits = [replace(one, measured={**one.measured, **nothing}) for one in combinations]
    assert set(at_constant_sharing(logits)) == {("conv1", "correlation"), ("conv1", "excess")}


@pytest.mark.parametrize("is_rectified", [True, False])
@pytest.mark.parametrize(("units", "latents"), [(16, 24), (64, 24), (100, 200)])
def test_latents_are_found_from_the_effective_dimension(units: int, latents: int, is_rectified: bool) -> None:
    rng, dimensions = np.random.default_rng(0), []
    for _ in range(800 // units):
        directions = rng.standard_normal((latents, units))
        values = rng.standard_normal((5_000, latents)) @ directions / np.linalg.norm(directions, axis=0)
        values = np.maximum(values, 0) if is_rectified else values
        dimensions.append(effective_dimension(np.corrcoef(values, rowvar=False)))
    assert latents_of(units, float(np.mean(dimensions)), is_rectified=is_rectified) == pytest.approx(latents, rel=0.15)


def test_levels_outside_of_what_is_possible_are_the_nearest() -> None:
    curves = [LEVELS, 0.5 * LEVELS]
    assert at_constant(curves, [-1, -1]).tolist() == [0, 0]
    assert at_constant(curves, [2, 2]).tolist() == [1, 0.5]
    assert at_constant(curves, [0.7, 0.2]).tolist() == pytest.approx([0.6, 0.3])


def test_the_schema_names_the_quantities_that_are_simulated() -> None:
    assert WITH_NULL == QUANTITIES
    assert set(WITH_NULL) < set(GROWING)
