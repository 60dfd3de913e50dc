"""Rows of the tables recurrence, recurrence_by_layer and measures, on networks of which it is known what they share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kurtosis, spearmanr

from raycv.analysis.arrays import Floats
from raycv.stages.align.groups import NetworkGroup
from raycv.stages.align.measures import measure, measure_rows, measure_untrained_weights
from raycv.stages.align.recurring import layer_rows, recurrence_of, recurrence_rows
from raycv.stages.align.units import unit_rows
from raycv.statistics.folds import LayerStatistics
from tests.support.copies import orthonormal
from tests.support.runs import moments_of, specs

UNITS, FOLDS = 40, 4


def networks(seed: int, share: float) -> list[Floats]:
    """Activations (2000, 40) of three networks: the first ``share`` of the units are copies, the others rotated."""
    rng = np.random.default_rng(seed)
    signals, kept = rng.standard_normal((2000, UNITS)), int(share * UNITS)
    found = []
    for _ in range(3):
        x = signals + 0.2 * rng.standard_normal(signals.shape)
        x[:, kept:] = x[:, kept:] @ orthonormal(UNITS - kept, rng)
        found.append(x + 1)
    return found


def group_of(activations: list[Floats]) -> NetworkGroup:
    parts = zip(*(np.split(net, FOLDS) for net in activations), strict=True)
    widths = [net.shape[1] for net in activations]
    return NetworkGroup(specs(widths, ("conv1",)), LayerStatistics(tuple(moments_of(part) for part in parts)))


def measures_of(trained: NetworkGroup, untrained: NetworkGroup) -> pd.DataFrame:
    return measure_rows(
        "conv1", trained.specs, measure(trained), (untrained.specs, measure_untrained_weights(untrained))
    )


def units_of(activations: list[Floats]) -> pd.DataFrame:
    """The rows of the table units; the top patches of a unit are of one class, but for as many as its number tells."""
    with np.errstate(invalid="ignore"):
        shapes = np.concatenate([kurtosis(net) for net in activations])
    other = np.concatenate([np.arange(net.shape[1]) % 5 for net in activations])
    group = group_of(activations)
    return unit_rows("conv1", group.specs, group.statistics, shapes, (np.arange(9) < other[:, None]).astype(int))


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 1.0, 1.0), (0.0, 0.0, 0.05), (0.5, 0.5, 0.56)])
def test_copies_recur_and_rotated_units_do_not(share: float, low: float, high: float) -> None:
    activations = networks(0, share)
    group = group_of(activations)
    found = recurrence_of(group)
    rows, by_layer = (
        recurrence_rows("conv1", group.specs, found),
        layer_rows("conv1", units_of(activations), found, found),
    )
    assert (rows.loc[rows["unit"] < share * UNITS, "partners"] == 2).all()
    assert low <= (rows["partners"] == 2).mean() <= high
    quantities = by_layer.set_index("quantity")["value"]
    assert quantities["recurring_share"] == pytest.approx((rows["partners"] == 2).mean())
    assert quantities["partner_share"] == pytest.approx(rows["partners"].mean() / 2)
    assert quantities["group_share"] == pytest.approx((rows["recurring_group"] >= 0).mean())
    untrained = by_layer.set_index("quantity")["untrained"]
    assert untrained["partner_share"] == pytest.approx(quantities["partner_share"])
    shares = ["partner_share", "estimated_share", "recurring_share", "group_share"]
    assert sorted(untrained.dropna().index) == sorted(shares)
    pd.testing.assert_frame_equal(rows, recurrence_rows("conv1", group.specs, recurrence_of(group)))


def test_rows_equal_numpy_and_dead_units_have_none() -> None:
    activations = networks(1, 0.5)
    activations[0][:, 3] = 0
    group = group_of(activations)
    found = recurrence_of(group)
    rows = recurrence_rows("conv1", group.specs, found)
    dead = rows[(rows["net"] == "net1") & (rows["unit"] == 3)].iloc[0]
    assert (dead["partners"], dead["mutual"], dead["recurring_group"]) == (0, 0, -1)
    assert np.isnan(dead["excess"])
    live = rows[rows["excess"].notna()]
    quantities = layer_rows("conv1", units_of(activations), found, found).set_index("quantity")
    predictors = {
        "mean": np.concatenate([net.astype(np.float32).mean(0) for net in activations]),
        "active_fraction": np.concatenate([(net.astype(np.float32) > 0).mean(0) for net in activations]),
        "kurtosis": np.concatenate([kurtosis(net) for net in activations]),
        "class_purity": np.concatenate([1 - np.arange(net.shape[1]) % 5 / 9 for net in activations]),
    }
    for name, values in predictors.items():
        expected = spearmanr(live["partners"], values[rows["excess"].notna()]).statistic
        assert quantities.loc[f"partners_by_{name}", "value"] == pytest.approx(expected, abs=1e-3), name


def test_measures_equal_numpy() -> None:
    activations, others = networks(2, 0.5), networks(3, 0.0)
    group, untrained = group_of(activations), group_of(others)
    table = measures_of(group, untrained)
    keys = table[["net_a", "net_b", "measure"]].itertuples(index=False, name=None)
    rows = dict(zip(keys, table.to_dict("records"), strict=True))
    x, y, z = (net.astype(np.float32).astype(float) for net in activations)

    def cka(a: Floats, b: Floats) -> float:
        a, b = a - a.mean(0), b - b.mean(0)
        return float(np.linalg.norm(a.T @ b) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b))

    row = rows["net1", "net2", "linear_cka"]
    assert row["value"] == pytest.approx(cka(x, y), abs=1e-5)
    assert row["low"] < row["value"] < row["high"]
    pairs = ((0, 1), (0, 2), (1, 2))
    assert row["chance"] == pytest.approx(np.mean([cka(others[a], others[b]) for a, b in pairs]), abs=1e-5)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(z, rowvar=False))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert rows["net3", "net3", "effective_dimension"]["value"] == pytest.approx(expected, rel=1e-4)
    best = np.abs(np.corrcoef(x, y, rowvar=False)[:UNITS, UNITS:])
    soft = rows["net1", "net2", "soft_correlation_match"]
    assert soft["value"] <= (best.max(0).mean() + best.max(1).mean()) / 2 + 1e-6
    assert soft["chance"] < soft["value"] - 0.1
    left = [rows[*pair, "regression_r2"]["value"] for pair in (("net1", "net2"), ("net2", "net1"))]
    for value, (a, b) in zip(left, ((x, y), (y, x)), strict=True):
        a, b = a - a.mean(0), b - b.mean(0)
        residual = b - a @ np.linalg.lstsq(a, b, rcond=None)[0]
        assert value == pytest.approx(1 - (residual**2).sum() / (b**2).sum(), abs=1e-5)
    assert len(rows) == len(table)
    assert table.query("measure != 'partial_matching_mass'")["chance"].notna().all()


def test_a_unit_that_fires_in_one_half_of_the_images_is_not_worth_matching() -> None:
    nets = networks(4, 1.0)
    nets[1][: len(nets[1]) // FOLDS, 3] = 0
    nets[1][2 * len(nets[1]) // FOLDS : 3 * len(nets[1]) // FOLDS, 3] = 0
    table = measures_of(group_of(nets), group_of(networks(5, 0.0)))
    assert table.query("measure == 'partial_matching_mass'")["value"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25, 0.0])
def test_copies_are_worth_matching_and_rotated_units_are_not(share: float) -> None:
    table = measures_of(group_of(networks(4, share)), group_of(networks(5, 0.0)))
    values = {str(name): rows["value"] for name, rows in table.groupby("measure")}
    # A few of the rotated ones correlate by .6 in their smaller subspace, more than units rotated in the whole.
    assert values["partial_matching_mass"].between(share, share + 0.16 * (0 < share < 1)).all()
    score = values["partial_matching_score"]
    assert score.isna().all() if share == 0 else score.between(0.75, 0.97).all()
