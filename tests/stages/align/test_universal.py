"""Rows of the tables universal and universal_by_layer, on networks of which it is known what they share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from raycv.analysis import correlation, excess_correlation, mutual_first
from raycv.analysis.arrays import Floats
from raycv.analysis.recurrence import recurrence
from raycv.stages.align.figures.universal import universal_units
from raycv.stages.align.universal import Published, Universality, layer_rows, universal_rows, with_all_layers
from tests.support.runs import specs

UNITS, COPIED = 80, 20
SPECS = specs((UNITS,) * 3, ("conv1",))


def networks(copied: int, seed: int = 0) -> list[Floats]:
    """Three networks of 80 units, of which the first ``copied`` are the same but for noise; what they measure else."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((1500, copied))
    noisy = [shared + 0.15 * rng.standard_normal(shared.shape) for _ in range(3)]
    return [np.hstack([part, rng.standard_normal((1500, UNITS - copied))]) for part in noisy]


def universality(nets: list[Floats], *, shuffled: bool = False) -> Universality:
    recurs = recurrence({(n, m): correlation(nets[n], nets[m]) for n in range(3) for m in range(n, 3)})
    pairs = {}
    for n, m in recurs.pairs:
        cross = correlation(nets[n], np.roll(nets[m], 700, axis=0) if shuffled else nets[m])
        pairs[n, m] = Published(excess_correlation(cross, np.cov(nets[m].T)), mutual_first(cross))
    return Universality(recurs, pairs)


def units() -> pd.DataFrame:
    """The table units: copied ones have a kurtosis of their own."""
    rng, number = np.random.default_rng(1), np.tile(np.arange(UNITS), 3)
    kurtosis = 3.0 * (number < COPIED) + rng.uniform(0, 0.1, len(number))
    net = np.repeat([spec.name for spec in SPECS], UNITS)
    return pd.DataFrame({"net": net, "unit": number, "kurtosis": kurtosis, "active_fraction": 0.5})


def test_copied_units_are_universal_by_all_definitions_and_chance_is_told() -> None:
    nets = networks(COPIED)
    found, shuffled = universality(nets), universality(nets, shuffled=True)
    rows = universal_rows("conv1", SPECS, found, shuffled)
    copied = rows[rows["unit"] < COPIED]
    assert (copied[["partners", "mutual_first"]] == 2).all(axis=None)
    assert (copied["excess_correlation"] > 0.5).all()
    assert (rows.loc[rows["unit"] >= COPIED, "excess_correlation"] < 0.2).all()
    assert rows["shuffled_excess"].abs().max() < 0.2
    strangers = universality(networks(0, seed=1))
    by: Any = layer_rows("conv1", units(), found, shuffled, strangers).set_index("definition")
    share = COPIED / UNITS
    assert by.loc["excess", "share"] == share
    assert by.loc["tested", "share"] == pytest.approx(share, abs=0.03)
    assert by.loc["excess", ["untrained", "shuffled"]].tolist() == [0, 0]
    assert by.loc["mutual", "share"] >= share
    # Of units with nothing in common half are mutual firsts in one network: by chance a fourth in both.
    assert by.loc["mutual", ["untrained", "shuffled"]].astype(float).between(0.15, 0.4).all()
    assert (by["low"] <= by["share"]).all()
    assert (by["share"] <= by["high"]).all()
    assert by.loc["excess", "by_kurtosis"] > 0.5
    assert by["by_active_fraction"].isna().all()


def test_without_samples_by_chance_nothing_is_said_of_it() -> None:
    found = universality(networks(COPIED))
    assert universal_rows("conv1", SPECS, found, None)[["shuffled_excess", "shuffled_mutual"]].isna().all(axis=None)
    assert layer_rows("conv1", units(), found, None, None)[["untrained", "shuffled"]].isna().all(axis=None)


def test_all_layers_say_where_a_unit_has_its_first() -> None:
    rows = pd.DataFrame({"layer": ["one"] * 2, "net": ["a", "b"], "unit": [0, 0]})
    across = pd.DataFrame(
        [
            ("a", "x", 0, "b", "y", True),
            ("a", "x", 0, "c", "y", False),
            ("a", "y", 0, "b", "x", True),
            ("b", "y", 0, "a", "x", True),
            ("b", "y", 0, "c", "x", True),
        ],
        columns=["net_a", "layer_a", "unit_a", "net_b", "layer_b", "is_mutual"],
    )
    found = with_all_layers(rows, across, {("a", "one"): "x", ("b", "one"): "y"})
    assert found["mutual_across"].tolist() == [1, 2]
    assert found["layer_across"].tolist() == ["y", "x"]
    assert with_all_layers(rows, None, {})[["mutual_across", "layer_across"]].isna().all(axis=None)


def test_the_figure_has_a_point_for_every_definition_and_what_chance_gives() -> None:
    nets = networks(COPIED)
    found, shuffled = universality(nets), universality(nets, shuffled=True)
    by = pd.concat(layer_rows(layer, units(), found, shuffled, None) for layer in ("conv1", "conv2"))
    axes = universal_units(by).axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in axes.lines}
    share = by[by["definition"] == "excess"]["share"].tolist()
    assert lines["excess above 0.5 (Gurnee et al.)"].tolist() == share
    assert lines["shuffled"].tolist() == by[by["definition"] == "mutual"]["shuffled"].tolist()
