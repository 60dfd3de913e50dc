"""Rows of the tables study and study_slopes, against the recurrence of the same networks and against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raycv.analysis.arrays import Floats
from raycv.analysis.similarity import jackknife
from raycv.run import tables
from raycv.run.schema import BY_NAME, GROWING
from raycv.run.store import RunStore
from raycv.stages.align.groups import NetworkGroup
from raycv.stages.align.matching import match
from raycv.stages.align.recurring import layer_rows, recurrence_of
from raycv.stages.align.rows import matching_rows
from raycv.stages.align.units import unit_rows
from raycv.stages.study.rows import Combination, Quantity, combination, slope_rows
from raycv.stages.study.summary import summary
from raycv.statistics.folds import LayerStatistics
from tests.support.copies import orthonormal
from tests.support.runs import moments_of, specs

UNITS = 24
AVERAGED = ["excess", "rotated_mean", "prerelu_excess", "untrained_excess", "untrained_prerelu_excess"]


def group_of(networks: int, seed: int) -> NetworkGroup:
    """Networks of 24 units, of which the first half are noisy copies; unit 0 of the first is dead."""
    rng = np.random.default_rng(seed)
    signals, nets = rng.standard_normal((2000, UNITS)), []
    for number in range(networks):
        net = signals + (0.5 + number) * rng.standard_normal(signals.shape)
        net[:, 12:] = net[:, 12:] @ orthonormal(12, rng)
        nets.append(net)
    nets[0][:, 0] = 0
    folds = tuple(moments_of(part) for part in zip(*(np.split(net, 4) for net in nets), strict=True))
    return NetworkGroup(specs([UNITS] * networks, ("conv1",)), LayerStatistics(folds))


def write_run(folder: Path, networks: int) -> tuple[RunStore, pd.DataFrame, pd.DataFrame]:
    """A run with the tables that a study reads; its rows of alignment, and of recurrence_by_layer."""
    store, group = RunStore(str(folder)), group_of(networks, seed=3)
    found = recurrence_of(group)
    pairs = match(group.correlations(group.moments))
    matchings = matching_rows("conv1", group.specs, "correlation", pairs, found.pairs)
    rows = [
        {
            "layer": "conv1",
            "net_a": f"net{a + 1}",
            "net_b": f"net{b + 1}",
            "similarity": "correlation",
            "method": "semi",
        }
        | {"beyond_chance": of.found()[of.columns >= 0].mean()}
        for (a, b), of in found.pairs.items()
    ]
    alignment = pd.DataFrame(rows)
    alignment[AVERAGED] = np.random.default_rng(0).uniform(0, 1, (len(rows), len(AVERAGED)))
    others = alignment.assign(method="bipartite", excess=99.0)
    training = [
        {"net": f"net{n + 1}", "epoch": e, "validation_top1": 0.1 * n + e} for n in range(networks) for e in (1, 2)
    ]
    for name, frame in (
        ("matchings", matchings),
        ("alignment", pd.concat([alignment, others])),
        ("training", pd.DataFrame(training).assign(seed=0)),
    ):
        tables.write(store, name, frame.reindex(columns=BY_NAME[name].schema.names))
    stacked = UNITS * networks
    units = unit_rows("conv1", group.specs, group.statistics, np.zeros(stacked), np.zeros((stacked, 9), int))
    return store, alignment, layer_rows("conv1", units, found, found).set_index("quantity")


def test_shares_and_their_intervals_are_those_of_the_run(tmp_path: Path) -> None:
    store, _, by_layer = write_run(tmp_path, networks=4)
    (row,) = combination(store, 12, 500).rows.to_dict("records")
    assert (row["width"], row["images"], row["layer"], row["units"]) == (12, 500, "conv1", UNITS)
    assert row["validation_top1"] == pytest.approx(2.15)
    assert 0 < row["recurring_share"] < row["partner_share"] < 1
    for share in ("partner_share", "recurring_share"):
        for column, expected in ((share, "value"), (f"{share}_low", "low"), (f"{share}_high", "high")):
            assert row[column] == pytest.approx(by_layer.loc[share, expected], abs=1e-12)


def test_averages_are_over_ordered_pairs(tmp_path: Path) -> None:
    store, alignment, _ = write_run(tmp_path, networks=3)
    found = combination(store, 12, 500)
    (row,) = found.rows.to_dict("records")
    values = alignment.assign(correlation=alignment["excess"] + alignment["rotated_mean"])
    for name in ("correlation", "excess", "prerelu_excess"):
        without = [
            values[(values[["net_a", "net_b"]] != net).all(axis=1)][name].mean() for net in ("net1", "net2", "net3")
        ]
        interval = jackknife(values[name].mean(), without)
        assert row[name] == pytest.approx(values[name].mean())
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx((interval.low, interval.high))
    assert row["untrained_excess"] == pytest.approx(values["untrained_excess"].mean())
    typed = tables.typed("study", found.rows)
    assert typed.schema.names == list(found.rows.columns)


def test_two_networks_have_no_interval(tmp_path: Path) -> None:
    found = combination(write_run(tmp_path, networks=2)[0], 12, 500)
    assert np.isnan(found.rows[[f"{name}_low" for name in GROWING]].to_numpy()).all()
    assert found.rows[list(GROWING)].notna().all(axis=None)


def measured(value: float, rng: np.random.Generator) -> Quantity:
    return Quantity(value, value + rng.normal(0, 0.01, 3))


def study_of(combinations: list[tuple[int, int]], value: Floats) -> list[Combination]:
    rng = np.random.default_rng(0)
    return [
        Combination(
            width,
            images,
            pd.DataFrame(),
            {("conv1", name): measured(v, rng) for name in GROWING}
            | {("fc8", name): measured(np.nan, rng) for name in GROWING},
        )
        for (width, images), v in zip(combinations, value, strict=True)
    ]


def test_slopes_are_those_of_numpy() -> None:
    widths, values = [6, 12, 18, 24], np.array([0.1, 0.13, 0.18, 0.17])
    rows = slope_rows(study_of([(width, 500) for width in widths], values))
    assert set(rows["against"]) == {"width"}
    assert len(rows) == 2 * len(GROWING)
    conv1, fc8 = (rows[rows["layer"] == layer] for layer in ("conv1", "fc8"))
    np.testing.assert_allclose(conv1["slope"], np.polyfit(np.log2(widths), values, 1)[0])
    assert ((conv1["low"] < conv1["slope"]) & (conv1["slope"] < conv1["high"])).all()
    assert fc8[["slope", "low", "high"]].isna().all(axis=None)
    assert tables.typed("study_slopes", rows).schema.names == list(rows.columns)


def test_two_settings_share_one_fit_and_are_told_apart() -> None:
    combinations = [(width, images) for images in (1000, 2000, 8000) for width in (6, 12)]
    values = np.array([0.05 * np.log2(width) - 0.02 * np.log2(images) for width, images in combinations])
    rows = slope_rows(study_of(combinations, values))
    excess = rows[(rows["layer"] == "conv1") & (rows["quantity"] == "excess")].set_index("against")["slope"]
    assert excess.to_dict() == pytest.approx({"width": 0.05, "images": -0.02})
    said = summary(rows)
    assert "a doubling of the width adds" in said
    assert "a doubling of the number of training images adds" in said
    assert "+0.050 (" in said
    assert "-0.020 (" in said
    (fc8,) = {line for line in said.splitlines() if line.startswith("  fc8")}
    assert fc8.split() == ["fc8", "-", "-", "-", "-"]
