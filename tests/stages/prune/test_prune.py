"""Removed units: every row is what a network with a hook gives, units chosen and made up for by hand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from raycv.cli import main
from raycv.run import tables
from raycv.run.store import RunStore
from raycv.stages.prune.rows import DRAWS
from tests.support.by_hand import fold_of, giving, images_of, loss_and_top1, outputs
from tests.support.commands import failing

FRACTIONS = (0.3, 1.0)


@pytest.fixture(scope="module")
def pruning(aligned_run: RunStore) -> pd.DataFrame:
    assert main(["prune", "--run", aligned_run.uri, "--fractions", ",".join(map(str, FRACTIONS))]) == 0
    return tables.read(aligned_run, "pruning")


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
    rows = pruning.query(f"layer == '{layer}' and net == 'net1' and order == '{order}' and fraction == 0.3")
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


def test_averages_are_those_of_the_networks(aligned_run: RunStore, pruning: pd.DataFrame) -> None:
    found = tables.read(aligned_run, "pruning_by_layer")
    row = found.query("layer == 'fc7' and order == 'random' and fraction == 0.3 and not compensated").iloc[0]
    mine = pruning.query("layer == 'fc7' and order == 'random' and fraction == 0.3 and not compensated")
    assert len(mine) == 3 * DRAWS
    of_nets = mine.groupby("net")["loss_change"].mean()
    assert row["loss_change"] == pytest.approx(of_nets.mean())
    half = 4.302652729911275 * of_nets.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
    assert row["loss_change_high"] - row["loss_change"] == pytest.approx(half)


def test_zero_is_another_filling(
    aligned_run: RunStore, pruning: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["prune", "--run", aligned_run.uri, "--fractions", "1.0"]
    assert main([*flags, "--fill", "zero"]) == 0

    def silent(out: Tensor) -> Tensor:
        return torch.zeros_like(out)

    expected = loss_and_top1(outputs(aligned_run, 2, ("fc7", silent)), images_of(aligned_run)[1])
    rows = tables.read(aligned_run, "pruning").query("layer == 'fc7' and net == 'net3' and not compensated")
    assert rows["loss"].to_numpy() == pytest.approx(expected[0], rel=1e-5)
    capsys.readouterr()
    assert main([*flags, "--fill", "zero"]) == 0
    assert "already finished, nothing to do" in capsys.readouterr().out


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run `raycv collect` first" in failing(capsys, "prune", "--run", str(tmp_path / "none"))
    assert "--fractions was given '0'" in failing(capsys, "prune", "--fractions", "0")


@pytest.mark.slow
def test_a_killed_driver_leaves_what_it_has_done(aligned_run: RunStore, tmp_path: Path) -> None:
    shutil.copytree(aligned_run.uri, tmp_path / "run")
    store = RunStore(str(tmp_path / "run"))
    command = [sys.executable, "-m", "raycv", "prune", "--run", store.uri, "--fractions", "0.2,0.4,0.6,0.8"]
    work = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (done := [path for path in store.list("parts") if path.endswith("done.json")]):
        assert time.monotonic() < deadline
        assert work.poll() is None
        time.sleep(0.05)
    os.killpg(work.pid, signal.SIGKILL)
    work.wait()
    assert subprocess.run(command, check=False).returncode == 0
    noted = store.read_json("run.json")["stages"]["prune"]
    assert noted["computed"] <= noted["pieces"] - len(done)
    assert not store.list("parts")
    rows = tables.read(store, "pruning")
    assert not rows.duplicated(["layer", "net", "order", "draw", "fraction", "compensated"]).any()
    assert len(rows) == 6 * 4 * 2 * (6 + DRAWS)
