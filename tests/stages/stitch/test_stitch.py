"""Stitched networks: copies in another order are joined without loss, and every way is what a hook gives."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from raycv import statistics
from raycv.analysis.mapping import lasso_path
from raycv.networks.bench import Bench, NetworkLayer
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.stitch.rows import Stitcher, by_layer, joints, rescaled, scores_of_joints
from raycv.statistics.folds import LayerStatistics
from tests.support.by_hand import fold_of, giving, images_of, loss_and_top1, outputs

DECAYS = (0.0, 1e-3)


@pytest.fixture(scope="module")
def stitching(aligned_run: RunStore) -> pd.DataFrame:
    found = statistics.read(aligned_run)
    bench = Bench.of(aligned_run, found.source())
    stitcher = Stitcher(bench, found, DECAYS)
    return pd.concat(stitcher(piece)["stitching"] for piece in bench.pieces())


def test_a_copy_in_another_order_is_joined_without_loss(stitching: pd.DataFrame) -> None:
    copies = stitching[(stitching["source_net"] != "net3") & (stitching["target_net"] != "net3")]
    for way in (copies["way"] == "matching", (copies["way"] == "mapping") & (copies["decay"] == 0)):
        rows = copies[way]
        assert len(rows) == 4
        assert (rows["top1_change"] == 0).all()
        np.testing.assert_allclose(rows["loss_change"], 0, atol=1e-5)


def test_a_network_joined_with_itself_is_itself(aligned_run: RunStore) -> None:
    found = statistics.read(aligned_run)
    bench = Bench.of(aligned_run, found.source())
    for layer in ("conv3", "fc7"):
        own = LayerStatistics(tuple(fold.of(2, 2) for fold in found.layer(layer).folds))
        joined = [joint for joint in joints(own, [0.0], "cpu") if joint.way[0] == "matching"]
        whole, scores = scores_of_joints(bench, NetworkLayer(layer, "net3", 2), {2: joined}, len(own.folds))
        assert scores[2][0].top1 == whole.top1
        np.testing.assert_allclose(scores[2][0].losses, whole.losses, rtol=1e-6)
        assert joined[0].loss == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("layer", ["conv3", "fc7"])
def test_ways_are_what_a_hook_gives(aligned_run: RunStore, stitching: pd.DataFrame, layer: str) -> None:
    """net3's first layers and net1's last, the mapping layers fitted on the samples of the other folds."""
    theirs, own = (outputs(aligned_run, number, tap=layer) for number in (2, 0))
    source, target = (out.movedim(1, -1).reshape(-1, out.shape[1]).double().numpy() for out in (theirs, own))
    labels = images_of(aligned_run)[1]
    fold, positions = fold_of(len(labels), 8), len(source) // len(labels)
    rows = stitching.query(f"layer == '{layer}' and source_net == 'net3' and target_net == 'net1'")
    units = tables.read(aligned_run, "units").query(f"layer == '{layer}'")
    out = {net: (mine["is_dead"] | mine["is_rare"]).to_numpy() for net, mine in units.groupby("net")}
    for decay in DECAYS:
        passed, errors, spread = np.empty_like(target), [], []
        for f in range(8):
            other, mine = np.repeat(fold != f, positions), np.repeat(fold == f, positions)
            (ms, ss), (mt, st) = ((x[other].mean(0), x[other].std(0)) for x in (source, target))
            ss[out["net3"] | (ss == 0)], st[out["net1"] | (st == 0)] = np.nan, np.nan
            zs, zt = (source[other] - ms) / ss, (target[other] - mt) / st
            (layer_of,) = lasso_path(zs.T @ zs / other.sum(), zs.T @ zt / other.sum(), [decay])
            guess = np.nan_to_num((source[mine] - ms) / ss) @ layer_of.weights.T * np.nan_to_num(st) + mt
            passed[mine] = guess
            errors.append(((guess - target[mine]) ** 2).mean(0))
            spread.append(((target[mine] - mt) ** 2).mean(0))
        values = torch.from_numpy(passed).float().reshape(len(labels), *own.shape[2:], own.shape[1]).movedim(-1, 1)
        expected = loss_and_top1(outputs(aligned_run, 0, (layer, giving(values))), labels)
        row = rows[(rows["way"] == "mapping") & (rows["decay"] == decay)].iloc[0]
        assert (row["loss"], row["top1"]) == pytest.approx(expected, rel=5e-3, abs=2e-3)
        live = ~out["net1"]
        loss = (np.mean(errors, 0) / np.mean(spread, 0) / 2)[live]
        assert row["prediction_loss"] == pytest.approx(loss.mean(), rel=1e-2)


def test_nothing_passed_on_is_predicting_nothing(stitching: pd.DataFrame) -> None:
    rows = stitching[stitching["way"] == "mean"]
    np.testing.assert_allclose(rows["prediction_loss"], 0.5)
    assert (rows["units_used"] == 0).all()
    assert (rows.groupby(["layer", "target_net"])["loss"].agg(np.ptp) < 1e-9).all()  # whoever the source is


def test_rescaled_predictions_have_the_spread_of_their_units() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6))
    z = (z - z.mean(0)) / z.std(0)
    weights = rng.standard_normal((4, 6)) * 0.1
    weights[2] = 0
    found = z @ rescaled(weights, z.T @ z / len(z)).T
    np.testing.assert_allclose(found.std(0), [1, 1, 0, 1], atol=1e-9)
    correlation = [np.corrcoef(found[:, t], z @ weights[t])[0, 1] for t in (0, 1, 3)]
    np.testing.assert_allclose(correlation, 1)


def test_averages_are_over_sources_and_then_over_targets(stitching: pd.DataFrame) -> None:
    found = by_layer(stitching)
    row = found.query("layer == 'fc7' and way == 'matching'").iloc[0]
    mine = stitching.query("layer == 'fc7' and way == 'matching'").groupby("target_net")["top1_change"].mean()
    assert math.isnan(row["decay"])
    assert row["top1_change"] == pytest.approx(mine.mean())
    assert set(found["layer"]) == {"conv3", "fc7"}
    assert len(stitching) == 2 * 6 * (2 + 2 * len(DECAYS))
