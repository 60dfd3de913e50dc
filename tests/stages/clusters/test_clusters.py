"""`raycv sweep clusters` on a real cluster, on runs whose statistics are written here: no network is trained."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from raycv import statistics
from raycv.analysis.graphs import combined_correlation
from raycv.analysis.spectral import K_RANGE, allowed_k, default_k, spectral_clusters, sweep_clusters
from raycv.cli import main
from raycv.config import ClusterSweepConfig
from raycv.run import record
from raycv.run.store import RunStore
from raycv.statistics.folds import correlations
from tests.support.commands import typed
from tests.support.runs import LAYERS, WIDTHS, make_run

TABLES = ("clusterings", "clusters", "cluster_members", "eigenvalues")
KEYS = ["layer", "net_a", "net_b", "threshold"]


def sweep(run: Path, *flags: str) -> int:
    return main(["sweep", "clusters", "--run", str(run), *flags])


def table(run: Path, name: str) -> pd.DataFrame:
    frame = pd.read_parquet(f"{run}/tables/{name}")
    frame["layer"] = frame["layer"].astype(str)
    columns = sorted(str(column) for column in frame if column != "seconds")
    return frame[columns].sort_values([*KEYS, *sorted(set(columns) - set(KEYS))]).reset_index(drop=True)


def combined(run: Path, layer: str, a: int, b: int) -> np.ndarray:
    of_layer = statistics.read(RunStore(str(run))).layer(layer)
    values = correlations(of_layer.all, of_layer.left_out())
    return combined_correlation(values[a, a], values[a, b], values[b, b])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    run = make_run(tmp_path_factory.mktemp("sweep") / "run")
    assert sweep(run, "--k", "5,9", "--thresholds", "0.2,0.3") == 0
    return run


def test_the_rows_are_those_of_direct_calls(swept: Path) -> None:
    rows, members = table(swept, "clusterings"), table(swept, "cluster_members")
    spectra = table(swept, "eigenvalues")
    assert set(map(tuple, rows[["layer", "net_a", "net_b"]].to_numpy())) == {
        (layer, *pair) for layer in LAYERS for pair in (("net1", "net2"), ("net1", "net3"), ("net2", "net3"))
    }
    for layer, a, b, threshold in (("conv1", 0, 1, 0.2), ("conv2", 1, 2, 0.3)):
        correlation = combined(swept, layer, a, b)
        key = {"layer": layer, "net_a": f"net{a + 1}", "net_b": f"net{b + 1}", "threshold": threshold}
        of_pair = rows[(rows[list(key)] == pd.Series(key)).all(axis=1)].set_index("k")
        chosen = spectral_clusters(correlation, WIDTHS[a], threshold=threshold, k_range=K_RANGE)
        assert of_pair.index[of_pair["chosen"]].tolist() == [chosen.k]
        lowest, highest = allowed_k(correlation, threshold)
        default = default_k(lowest, highest)
        assert of_pair.index[of_pair["is_default"]].tolist() == [default]
        ks = sorted({chosen.k, default} | {k for k in (5, 9) if lowest <= k <= highest})
        curve = spectra[(spectra[list(key)] == pd.Series(key)).all(axis=1)].set_index("number")["modularity"]
        assert curve.dropna().to_dict() == pytest.approx(chosen.tried)
        assert sorted(of_pair.index) == ks
        for result in sweep_clusters(correlation, WIDTHS[a], ks, threshold=threshold):
            row = of_pair.loc[result.k]
            assert row["inertia"] == pytest.approx(result.inertia, rel=1e-6, abs=1e-9)
            assert row["one_net"] == len(result.metrics.one_net)
            assert row["modularity"] == pytest.approx(result.modularity)
            assert row["isolated_a"] + row["isolated_b"] == len(result.isolated)
            of_k = members[(members[list(key)] == pd.Series(key)).all(axis=1) & (members["k"] == result.k)]
            got = of_k.set_index(["net", "unit"])["cluster"]
            units = [(f"net{n + 1}", u) for n in (a, b) for u in range(WIDTHS[n])]
            np.testing.assert_array_equal(got.loc[units].to_numpy(), result.labels)


def test_dead_and_rare_units_keep_their_rows_and_are_in_no_cluster(swept: Path) -> None:
    members = table(swept, "cluster_members")
    for unit in range(2):  # one is dead, one rare
        of_unit = members[(members["net"] == "net1") & (members["unit"] == unit)]
        assert len(of_unit)
        assert (of_unit[["cluster", "leaf"]] == -1).all(axis=None)


def test_clusters_of_one_network_and_of_one_unit_are_counted(swept: Path) -> None:
    rows, members = table(swept, "clusterings"), table(swept, "cluster_members")
    by = [*KEYS, "k"]
    sizes = members[members["cluster"] >= 0].groupby([*by, "cluster", "net"]).size().unstack(fill_value=0)
    units = sizes.sum(axis=1)
    both = (sizes > 0).sum(axis=1) == 2
    counted = rows.set_index(by)
    for column, expected in (("one_net", ~both), ("single_unit", units == 1), ("units_two_net", units.where(both, 0))):
        assert counted[column].sort_index().to_dict() == expected.groupby(by).sum().to_dict()


def test_the_nodes_of_the_tree_hold_the_members(swept: Path) -> None:
    nodes, members = table(swept, "clusters"), table(swept, "cluster_members")
    by = [*KEYS, "k"]
    leaves = nodes[nodes["is_leaf"]].set_index([*by, "cluster"])[["units_a", "units_b"]].sum(axis=1)
    counted = members[members["leaf"] >= 0].groupby([*by, "leaf"]).size()
    assert leaves.sort_index().to_dict() == counted.sort_index().to_dict()
    for _, tree in nodes.groupby(by):
        tree = tree.set_index("cluster").assign(size=lambda t: t["units_a"] + t["units_b"])
        parts = tree[tree["parent"] >= 0].groupby("parent")["size"].sum()
        assert parts.to_dict() == tree["size"].loc[parts.index].to_dict()


def test_the_same_command_does_nothing_and_another_replaces_the_rows(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: table(swept, name) for name in TABLES}
    assert sweep(swept) == 0  # the run remembers its settings
    assert "nothing to do" in capsys.readouterr().out
    assert sweep(swept, "--k", "6", "--thresholds", "0.2") == 0
    assert set(table(swept, "clusterings")["threshold"]) == {0.2}
    assert 6 in set(table(swept, "clusters")["k"])
    assert sweep(swept, "--k", "9,5", "--thresholds", "0.3,0.2") == 0
    for name in TABLES:
        pd.testing.assert_frame_equal(table(swept, name), before[name])
    assert not (swept / "sweeps").exists()


def test_what_the_graphs_do_not_allow_is_told_and_recorded(
    tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", ("conv1",))
    assert sweep(run, "--k", "5,500", "--thresholds", "0.2,0.99") == 0
    said = capsys.readouterr().out
    left_out = record.read(RunStore(str(run)))["stages"]["sweep clusters"]["left_out"]
    assert len(left_out) == 6
    assert all(sentence in said for sentence in left_out)
    assert sum("is above the threshold 0.99" in sentence for sentence in left_out) == 3
    assert sum("k = 500; its graph allows" in sentence for sentence in left_out) == 3
    rows = table(run, "clusterings")
    assert set(rows["threshold"]) == {0.2}
    assert 500 not in set(rows["k"])


def test_the_papers_k_is_the_default_where_it_is_asked_for_and_allowed(
    tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raycv.stages.clusters.stage.CLUSTERS_FIRST", 11)
    run = make_run(tmp_path / "run")
    assert sweep(run, "--k", "paper,5") == 0
    rows = table(run, "clusterings")
    default = rows[rows["is_default"]]
    assert default.loc[default["layer"] == "conv1", "k"].tolist() == [11] * 3
    assert set(rows["k"]) >= {5, 11}
    others = default[default["layer"] == "conv2"]  # whose graphs have fewer than 100 units
    scaled = [default_k(*limits) for limits in others[["lowest_k", "highest_k"]].to_numpy().tolist()]
    assert others["k"].tolist() == scaled
    assert "conv2/net1-net2-above-0.2: k = 100; its graph allows" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [("--k", "0"), ("--k", "papers"), ("--thresholds", "-0.1"), ("--thresholds", "1")])
def test_settings_out_of_range_are_refused(
    tmp_path: Path, flags: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(tmp_path, *flags) == 2
    assert flags[0].removeprefix("--") in capsys.readouterr().err


def test_one_letter_flags_have_one_dash_or_two() -> None:
    for arguments in (["--k", "3,4"], ["-k", "3,4"], ["--k=3,4"]):
        assert typed(ClusterSweepConfig, *arguments).k == (3, 4)
    assert typed(ClusterSweepConfig, "--k", "3,paper").k == (3, "paper")


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_same_tables(swept: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    flags = ("--k", "5,9", "--thresholds", "0.2,0.3")
    command = ["sweep", "clusters", "--run", str(run), *flags]
    driver = subprocess.Popen([sys.executable, "-c", SLOW_DRIVER, *command])
    try:
        deadline = time.monotonic() + 240
        while finished_trials(run) < 2:
            assert driver.poll() is None, "the sweep was over before it could be killed"
            assert time.monotonic() < deadline, "the sweep does not get going"
            time.sleep(0.02)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert finished_trials(run) < 12
    assert not (run / "tables").exists()
    assert sweep(run, *flags) == 0
    assert record.read(RunStore(str(run)))["stages"]["sweep clusters"]["computed"] <= 10
    for name in TABLES:
        pd.testing.assert_frame_equal(table(run, name), table(swept, name))


# With a cluster of its own, which ends with it. A trial takes a second, so that not all are over before one is seen.
SLOW_DRIVER = """
import sys
import ray

def slow():
    import time
    from raycv.run.trial_results import TrialResults
    keep = TrialResults.keep
    TrialResults.keep = lambda *given: (time.sleep(1), keep(*given))

if __name__ == "__main__":
    ray.init(num_cpus=1, log_to_driver=False, runtime_env={"worker_process_setup_hook": slow})
    from raycv.cli import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_sweep_whose_trials_die_fails_and_goes_on(tmp_path: Path, ray_cluster: None) -> None:
    run = make_run(tmp_path / "run", ("conv1",))
    store = RunStore(str(run))
    assert sweep(run, "--k", "5") == 0
    before = {name: table(run, name) for name in TABLES}
    noted = record.read(store)
    command = [sys.executable, "-c", SLOW_DRIVER, "sweep", "clusters", "--run", str(run), "--k", "6"]
    with (tmp_path / "said").open("w") as said_to:
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said_to)
    while driver.poll() is None:  # of this driver's cluster alone
        for process in psutil.Process(driver.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::ImplicitFunc"):
                    process.kill()
        time.sleep(0.05)
    lines = (tmp_path / "said").read_text().splitlines()  # Ray's processes may say something after it
    said = [line for line in lines if line.startswith("raycv:")][-1]
    assert said.startswith("raycv: sweep clusters: trial conv1/net")
    assert said.endswith("Finished trials are kept, and the same command goes on from here.")
    assert driver.returncode == 1
    assert record.read(store)["stages"] == noted["stages"]
    assert "trial conv1/net" in record.read(store)["errors"]["sweep clusters"]["error"]
    for name in TABLES:
        pd.testing.assert_frame_equal(table(run, name), before[name])
    assert sweep(run, "--k", "6") == 0
    assert 6 in set(table(run, "clusters")["k"])
    assert "sweep clusters" not in record.read(store)["errors"]


def finished_trials(run: Path) -> int:
    return len(list(run.glob("sweeps/*/*/*/done.json")))
