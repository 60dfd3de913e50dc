"""Removed units: every row is what a network with a hook gives, units chosen and made up for by hand."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch

from raycv import statistics
from raycv.networks.bench import Bench
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.prune.rows import DRAWS, Pruner, by_layer
from tests.support.by_hand import fold_of, giving, images_of, loss_and_top1, outputs

FRACTIONS = (0.3, 1.0)


def pruned(store: RunStore, fill: Literal["mean", "zero"], fractions: tuple[float, ...]) -> pd.DataFrame:
    found = statistics.read(store)
    bench = Bench.of(store, found.source())
    pruner = Pruner(bench, found, fractions, fill)
    return pd.concat(pruner(piece)["pruning"] for piece in bench.pieces())


@pytest.fixture(scope="module")
def pruning(aligned_run: RunStore) -> pd.DataFrame:
    return pruned(aligned_run, "mean", FRACTIONS)


def removed(store: RunStore, layer: str, order: str, count: int) -> np.ndarray:
    """The units of net1 that go first, from the tables."""
    matched = tables.read(store, "matchings")
    best = matched[(matched["similarity"] == "correlation") & (matched["method"] == "semi")]
    mine = best[(best["layer"] == layer) & (best["net_a"] == "net1")]
    values = mine.groupby("unit_a")["value" if "partner" in order else "excess"].mean()
    if order == "activation":
        units = tables.read(store, "units")
        values = units[(units["layer"] == layer) & (units["net"] == "net1")].set_index("unit")["mean"]
    rising = values.fillna(-np.inf).sort_values(kind="stable", ascending=order != "partner_high")
    return rising.index.to_numpy()[:count]


@pytest.mark.parametrize("layer", ["conv3", "fc7"])
@pytest.mark.parametrize("order", ["partner_low", "partner_high", "excess_low", "activation"])
def test_rows_are_what_a_hook_gives(aligned_run: RunStore, pruning: pd.DataFrame, layer: str, order: str) -> None:
    own = outputs(aligned_run, 0, tap=layer)
    samples = own.movedim(1, -1).reshape(-1, own.shape[1]).double().numpy()
    labels = images_of(aligned_run)[1]
    fold = fold_of(len(labels), 8)
    positions = len(samples) // len(labels)
    gone = removed(aligned_run, layer, order, round(0.3 * own.shape[1]))
    kept = np.setdiff1d(np.arange(own.shape[1]), gone)
    plain, made_up = samples.copy(), samples.copy()
    for f in range(8):
        other, mine = np.repeat(fold != f, positions), np.repeat(fold == f, positions)
        plain[np.ix_(mine, gone)] = samples[np.ix_(other, gone)].mean(0)
        design = np.column_stack([samples[:, kept], np.ones(len(samples))])
        fit = np.linalg.lstsq(design[other], samples[np.ix_(other, gone)], rcond=1e-9)[0]
        made_up[np.ix_(mine, gone)] = design[mine] @ fit
    rows = pruning.query(f"layer == '{layer}' and net == 'net1' and removal_order == '{order}' and fraction == 0.3")
    for compensated, changed in ((False, plain), (True, made_up)):
        if compensated and _left_out(aligned_run, layer):
            continue  # dead and rare units take no part in the fit, as test_removal shows
        shape = (len(labels), *own.shape[2:], own.shape[1])
        values = torch.from_numpy(changed).float().reshape(shape).movedim(-1, 1)
        expected = loss_and_top1(outputs(aligned_run, 0, (layer, giving(values))), labels)
        (row,) = rows[rows["compensated"] == compensated].to_dict("records")
        assert row["removed"] == len(gone)
        assert (row["loss"], row["top1"]) == pytest.approx(expected, rel=2e-3, abs=1e-4)


def _left_out(store: RunStore, layer: str) -> bool:
    units = tables.read(store, "units", filters=[("layer", "==", layer), ("net", "==", "net1")])
    return bool((units["is_dead"] | units["is_rare"]).any())


def test_without_all_units_nothing_is_told_apart(pruning: pd.DataFrame) -> None:
    last = pruning[pruning["fraction"] == 1.0]
    spread = last.groupby(["layer", "net"])["loss"].agg(np.ptp)
    assert (spread < 1e-6).all()  # in whatever order they went, with compensation or without
    assert (last["removed"] == last.groupby("layer")["removed"].transform("max")).all()


def test_averages_are_those_of_the_networks(pruning: pd.DataFrame) -> None:
    found = by_layer(pruning)
    row = found.query("layer == 'fc7' and removal_order == 'random' and fraction == 0.3 and not compensated").iloc[0]
    mine = pruning.query("layer == 'fc7' and removal_order == 'random' and fraction == 0.3 and not compensated")
    assert len(mine) == 3 * DRAWS
    of_nets = mine.groupby("net")["loss_change"].mean()
    assert row["loss_change"] == pytest.approx(of_nets.mean())
    half = 4.302652729911275 * of_nets.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
    assert row["loss_change_high"] - row["loss_change"] == pytest.approx(half)


def test_zero_is_another_filling(aligned_run: RunStore) -> None:
    rows = pruned(aligned_run, "zero", (1.0,)).query("layer == 'fc7' and net == 'net3' and not compensated")
    expected = loss_and_top1(outputs(aligned_run, 2, ("fc7", torch.zeros_like)), images_of(aligned_run)[1])
    assert rows["loss"].to_numpy() == pytest.approx(expected[0], rel=1e-5)
