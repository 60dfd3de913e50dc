"""The pass on a real cluster: right against numpy, the same bits whatever happens, and refusals in plain words."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import kurtosis
from sklearn.metrics import mutual_info_score

from raycv import statistics
from raycv.analysis.information import bin_edges, encode
from raycv.cli import main
from raycv.data.preprocessing import Resize
from raycv.data.readers import own_images
from raycv.data.sampling import choose, elsewhere
from raycv.data.shards import shards
from raycv.data.sources import open_source
from raycv.networks import checkpoints
from raycv.networks.models import build, load_weights
from raycv.networks.receptive import receptive_fields
from raycv.networks.spec import ALEXNET_LAYERS
from raycv.networks.stored import stored
from raycv.run import record
from raycv.run.paths import NETS, NULL
from raycv.run.store import RunStore
from raycv.stages.align.comparison import AlignTask, all_compared, compare, compare_all
from raycv.stages.align.stage import WRITTEN
from raycv.stages.patches.rows import top_patches
from raycv.statistics.folds import correlations
from tests.support.commands import failing
from tests.support.processes import processes
from tests.support.runs import spec
from tests.support.s3_server import BUCKET, S3Server

WIDTHS = (6, 6, 9)


def awake(net: torch.nn.Module) -> torch.nn.Module:
    """An untrained network whose first unit is dead."""
    with torch.no_grad():
        net.get_parameter("conv1.0.weight")[0] = 0
        net.get_parameter("conv1.0.bias")[0] = -1
    return net


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that holds three networks, of two widths, one with a dead unit, and nothing else."""
    folder = tmp_path_factory.mktemp("template")
    for number, width in enumerate(WIDTHS, 1):
        net = build(spec(number, width))
        checkpoints.save(RunStore(str(folder)), spec(number, width), awake(net).state_dict())
    return folder


@pytest.fixture
def run(template: Path, tmp_path: Path) -> Path:
    """A fresh copy of the template."""
    folder = tmp_path / "run"
    subprocess.run(["cp", "-r", str(template), str(folder)], check=True)
    return folder


def collect(run: Path, *flags: str) -> int:
    return main(["collect", "--run", str(run), *flags])


def bits(run: Path | str) -> dict[str, bytes]:
    """Every array of the statistics, exactly."""
    store = RunStore(str(run))
    return {
        f"{path}:{name}": array.tobytes()
        for path in store.list("statistics")
        if path.endswith(".npz") and "/partials/" not in path
        for name, array in store.read_arrays(path).items()
    }


@pytest.fixture(scope="module")
def undisturbed(template: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The pass with one actor and shards of 50, aligned: what every disturbed pass must equal."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(["cp", "-r", str(template), str(folder)], check=True)
    assert collect(folder, "--actors", "1", "--shard-size", "50") == 0
    assert main(["align", "--run", str(folder)]) == 3  # untrained networks
    return folder


@pytest.fixture(scope="module")
def activations(undisturbed: Path) -> dict[str, list[np.ndarray]]:
    """Samples (n, S) of every layer and network, from plain forward passes in float64 statistics."""
    source = open_source("cifar10-subset", "validation")
    store = RunStore(str(undisturbed))
    images, _ = source.decode(np.arange(len(source)), Resize(32))
    found: dict[str, list[np.ndarray]] = {layer: [] for layer in ALEXNET_LAYERS}
    for network in stored(store):
        net = load_weights(network.spec, checkpoints.weights_of(store, network))
        batch = network.spec.preprocessing.evaluation(torch.from_numpy(images))
        with torch.inference_mode():
            for name, module in net.named_children():
                batch = module(batch)
                if name in found:
                    value = batch if batch.ndim == 2 else batch.permute(0, 2, 3, 1).flatten(0, 2)
                    found[name].append(value.numpy().astype(np.float64))
    return found


def table(run: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(f"{run}/tables/{name}")


@pytest.mark.parametrize("layer", ["conv1", "conv4", "fc6", "fc8"])
def test_correlations_equal_numpy(undisturbed: Path, activations: dict[str, list[np.ndarray]], layer: str) -> None:
    rows = table(undisturbed, "correlations").query("layer == @layer")
    of_layer = table(undisturbed, "units").query("layer == @layer").set_index("net")
    units = of_layer["is_dead"] | of_layer["is_rare"]
    for a in range(3):
        for b in range(a, 3):
            pair = rows[(rows["net_a"] == f"net{a + 1}") & (rows["net_b"] == f"net{b + 1}")]
            found = pair.pivot(index="unit_a", columns="unit_b", values="value").to_numpy()
            samples = [activations[layer][n] for n in (a, b)]
            with np.errstate(invalid="ignore", divide="ignore"):
                joint = np.corrcoef(samples[0], samples[1], rowvar=False)
            expected = joint[: samples[0].shape[1], samples[0].shape[1] :]
            dead = [units[f"net{n + 1}"].to_numpy() for n in (a, b)]
            expected[dead[0]] = np.nan
            expected[:, dead[1]] = np.nan
            np.testing.assert_allclose(found, expected, atol=5e-6)


def kept_samples(values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a layer's activations that the pass keeps, in the order of their ranks, and their positions."""
    positions = len(values[0]) // 2000
    chosen = choose(np.arange(2000), positions, 2000)
    rows, position = (np.empty(len(chosen.rank), dtype=np.int64) for _ in range(2))
    rows[chosen.rank], position[chosen.rank] = chosen.image * positions + chosen.position, chosen.position
    return rows, position


@pytest.mark.parametrize("layer", ["conv4", "fc6"])
def test_mutual_information_equals_sklearn(
    undisturbed: Path, activations: dict[str, list[np.ndarray]], layer: str
) -> None:
    """The same samples, chosen by identity from plain forward passes, in the same bins."""
    values = activations[layer]
    rows, _ = kept_samples(values)
    assert len(rows) == min(60_000, len(values[0]))
    codes = [encode(samples[rows], bin_edges(samples[rows])) for samples in (v.astype(np.float32) for v in values)]
    found = table(undisturbed, "mutual_information").query("layer == @layer and net_a == 'net1' and net_b == 'net3'")
    pairs = found.set_index(["unit_a", "unit_b"])
    for a, b in pairs["value"].dropna().sample(4, random_state=0).index:
        expected = mutual_info_score(codes[0][a], codes[2][b])
        assert pairs.loc[(a, b), "value"] == pytest.approx(expected, rel=1e-3, abs=1e-5)
        shifted = mutual_info_score(codes[0][a], np.roll(codes[2][b], codes[2].shape[1] // 2))
        assert pairs.loc[(a, b), "null_value"] == pytest.approx(shifted, rel=1e-3, abs=1e-5)
    assert (pairs["value_corrected"].dropna() < pairs["value"].dropna() + 1e-6).all()


def assert_same(found: Any, expected: Any, rounding: float = 0) -> None:
    """Equal, NaN included, through mappings, sequences and dataclasses; to the last bit where there is no rounding."""
    if isinstance(expected, Mapping):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if is_dataclass(expected):
        found, expected = list(vars(found).values()), list(vars(expected).values())
    if isinstance(expected, (list, tuple)):
        for mine, theirs in zip(found, expected, strict=True):
            assert_same(mine, theirs, rounding)
    elif rounding and expected is not None and not isinstance(expected, str):
        np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=rounding, atol=rounding)
    else:
        np.testing.assert_array_equal(found, expected)


def test_networks_compared_pair_by_pair_have_the_same_in_common(undisturbed: Path, ray_cluster: None) -> None:
    found = statistics.read(RunStore(str(undisturbed)))
    for layer, group in (("conv2", NETS), ("fc7", NETS), ("fc7", NULL)):
        networks = range(len(found.groups[group]))
        whole = compare(found, AlignTask(layer, group, tuple(networks), True))
        pieces = [AlignTask(layer, group, pair, False) for pair in combinations(networks, 2)]
        pairs = [compare(found, piece) for piece in pieces]
        joined = all_compared(pairs)
        for values in ("pairs", "beyond", "share"):
            of_whole = getattr(whole, values)
            assert_same(getattr(joined, values), of_whole and {key: of_whole[key] for key in getattr(joined, values)})
        for values in ("recurs", "dimensions", "measured", "untrained"):
            assert_same(getattr(joined, values), getattr(whole, values))
        for table in ("correlations", "mutual_information") if group == NETS else ():
            of_pairs = [one for pair in pairs for one in pair.values if one.table == table]
            assert_same(of_pairs, [one for one in whole.values if one.table == table])
    in_tasks = list(compare_all(found, pieces))  # their libraries have other numbers of threads
    assert_same(in_tasks, pairs, rounding=1e-9)


@pytest.mark.parametrize("layer", ["conv4", "fc6"])
def test_chance_is_what_numpy_makes_of_the_same_samples(
    undisturbed: Path, activations: dict[str, list[np.ndarray]], layer: str
) -> None:
    """With samples of another image at the same position; of mixed units, what does not depend on the mixture."""
    values = activations[layer]
    rows, position = kept_samples(values)
    found = statistics.read(RunStore(str(undisturbed))).chance(layer, 2)
    a, b = values[0][rows], values[2][rows][elsewhere(position)]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(a, b, rowvar=False)[: a.shape[1], a.shape[1] :]
    np.testing.assert_allclose(found["shuffled_within/0"], expected, atol=5e-6)
    mixed, own = found["prerelu/0"], found["prerelu/own"]
    assert mixed.shape == expected.shape
    np.testing.assert_allclose(np.diagonal(own)[found["prerelu/active"] > 0], 1, atol=1e-5)
    np.testing.assert_array_equal(own, own.T)
    np.testing.assert_allclose(found["kurtosis"], kurtosis(values[2][rows]), rtol=2e-4)
    fires = np.minimum((values[2][rows] > 0).sum(0), len(rows) - 1)  # a mixture that is always active ends at 0
    np.testing.assert_array_equal(np.sort(found["prerelu/active"]), np.sort(fires))


def test_agreement_of_the_two_similarities(undisturbed: Path) -> None:
    matchings, alignment = table(undisturbed, "matchings"), table(undisturbed, "alignment")
    pair = "layer == 'conv2' and net_a == 'net1' and net_b == 'net2' and method == 'semi'"
    by = {kind: rows.set_index("unit_a") for kind, rows in matchings.query(pair).groupby("similarity")}
    assert set(by) == {"correlation", "mutual_information"}
    best = by["correlation"]["value"].nlargest(8).index
    same = by["correlation"]["unit_b"] == by["mutual_information"]["unit_b"]
    row = alignment.query(pair + " and similarity == 'mutual_information'").iloc[0]
    assert row["best_eight_kept"] == same[best].sum()
    assert row["agreement_with_correlation"] == pytest.approx(same[by["correlation"]["unit_b"] >= 0].mean())
    of_unit = by["mutual_information"]["unit_b"]
    assert row["same_index"] == pytest.approx((of_unit == of_unit.index)[of_unit >= 0].mean())
    assert row["shuffled_mean"] < row["shuffled_within_mean"] < row["prerelu_mean"] < row["mean"] + 0.01


def test_units_equal_numpy(undisturbed: Path, activations: dict[str, list[np.ndarray]]) -> None:
    units = table(undisturbed, "units")
    for n in range(3):
        rows = units[(units["net"] == f"net{n + 1}") & (units["layer"] == "conv2")]
        samples = activations["conv2"][n]
        np.testing.assert_array_equal(rows["unit"], np.arange(samples.shape[1]))
        np.testing.assert_allclose(rows["mean"], samples.mean(0), rtol=1e-5)
        np.testing.assert_allclose(rows["std"], samples.std(0), rtol=1e-5)
        np.testing.assert_allclose(rows["active_fraction"], (samples > 0).mean(0), atol=1e-12)
    first = units[units["layer"] == "conv1"].set_index(["net", "unit"])
    assert first.loc[("net1", 0), "is_dead"]
    assert first["is_dead"].sum() == 3


def test_activity_equals_numpy(undisturbed: Path, activations: dict[str, list[np.ndarray]]) -> None:
    """A row for each network in every layer after a ReLU; the logits, which may be negative, have none."""
    activity = table(undisturbed, "activity")
    assert list(dict.fromkeys(activity["layer"])) == [*ALEXNET_LAYERS[:-1]]
    for layer, rows in activity.groupby("layer", sort=False):
        assert rows["net"].tolist() == ["net1", "net2", "net3"]
        means = [values.mean(0) for values in activations[str(layer)]]
        assert rows["units"].tolist() == [(of_net > 0).sum() for of_net in means]
        assert rows["silent"].tolist() == [(of_net == 0).sum() for of_net in means]
        np.testing.assert_allclose(rows["highest"], [of_net.max() for of_net in means], rtol=1e-4)
        np.testing.assert_allclose(rows["lowest"], [of_net[of_net > 0].min() for of_net in means], rtol=1e-3)


def test_dead_and_rare_units_rest_on_one_fold(undisturbed: Path, activations: dict[str, list[np.ndarray]]) -> None:
    """A unit that is constant without some one fold is dead; a rare one loses more than four fifths of its variance."""
    fold_of = np.empty(2000, dtype=int)
    for shard in shards(2000, folds=8, shard_size=50):
        fold_of[shard.images] = shard.fold
    units = table(undisturbed, "units").query("layer == 'fc6'").set_index("net")
    for n in range(3):
        values = activations["fc6"][n].astype(np.float64)
        others = [values[fold_of != fold] for fold in range(8)]
        dead = np.any([np.ptp(part, axis=0) == 0 for part in others], axis=0)
        np.testing.assert_array_equal(units.loc[f"net{n + 1}", "is_dead"], dead)
        rare = (5 * np.min([part.var(0) for part in others], axis=0) < values.var(0)) & ~dead
        np.testing.assert_array_equal(units.loc[f"net{n + 1}", "is_rare"], rare)


def test_matchings_are_the_best_and_the_dead_have_none(undisturbed: Path) -> None:
    correlations, matchings = table(undisturbed, "correlations"), table(undisturbed, "matchings")
    for layer in ALEXNET_LAYERS:
        rows = correlations[correlations["layer"] == layer].query("net_a == 'net1' and net_b == 'net3'")
        similarity = rows.pivot(index="unit_a", columns="unit_b", values="value").to_numpy().astype(float)
        chosen = matchings[matchings["layer"] == layer].query(
            "net_a == 'net1' and net_b == 'net3' and similarity == 'correlation'"
        )
        chosen = chosen.set_index("method")
        semi, one = chosen.loc["semi"], chosen.loc["bipartite"]
        alive = ~np.isnan(similarity).all(1)
        np.testing.assert_allclose(semi["value"][alive], np.nanmax(similarity[alive], axis=1), atol=1e-6)
        usable = np.where(np.isnan(similarity), -10, similarity)
        best = usable[linear_sum_assignment(usable, maximize=True)]
        assert one["value"].sum() == pytest.approx(best[best > -5].sum(), abs=1e-4)
        assert (one["unit_b"][~alive] == -1).all()
        partners = one["unit_b"][one["unit_b"] >= 0]
        assert partners.is_unique


def test_averages_have_intervals_and_a_null(undisturbed: Path) -> None:
    alignment, matchings = table(undisturbed, "alignment"), table(undisturbed, "matchings")
    alignment = alignment[alignment["similarity"] == "correlation"]
    matchings = matchings[matchings["similarity"] == "correlation"]
    assert len(alignment) == len(ALEXNET_LAYERS) * 6 * 2
    row = alignment.query("layer == 'conv3' and net_a == 'net2' and net_b == 'net1' and method == 'semi'").iloc[0]
    values = matchings.query("layer == 'conv3' and net_a == 'net2' and net_b == 'net1' and method == 'semi'")["value"]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["mean_low"] < row["mean"] < row["mean_high"]
    assert row["fraction_below_half"] == pytest.approx((values.dropna() <= 0.5).mean())
    # These networks are untrained themselves, so the null of two untrained ones is what they reach, but for the seeds.
    same_width = alignment.query("layer == 'conv3' and net_a == 'net1' and net_b == 'net2' and method == 'semi'")
    assert same_width["untrained_mean"].iloc[0] == pytest.approx(same_width["mean"].iloc[0], abs=0.05)


def test_the_health_check_sees_untrained_networks(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", "--run", str(undisturbed)]) == 3
    said = capsys.readouterr().err
    assert said.startswith("raycv: the health check failed: the logits (fc8) of net1-net2, ")
    assert said.count("\n") == 1
    assert record.read(RunStore(str(undisturbed)))["stages"]["align"]["health"]["broken_pairs"]


def test_actors_change_nothing(run: Path, undisturbed: Path, ray_cluster: None) -> None:
    assert collect(run, "--actors", "2", "--shard-size", "50") == 0
    assert bits(run) == bits(undisturbed)


@pytest.mark.slow
def test_shard_size_changes_rounding_only(run: Path, undisturbed: Path, ray_cluster: None) -> None:
    assert collect(run, "--shard-size", "256") == 0
    a, b = (statistics.read(RunStore(str(r))).layer("conv2") for r in (run, undisturbed))
    for fold_a, fold_b in zip(a.folds, b.folds, strict=True):
        assert fold_a.count == fold_b.count
        np.testing.assert_array_equal(fold_a.active, fold_b.active)
        np.testing.assert_allclose(fold_a.maximum + fold_a.pilot, fold_b.maximum + fold_b.pilot, atol=1e-5)
    for pair, matrix in correlations(a.all, a.dead()).items():
        np.testing.assert_allclose(matrix, correlations(b.all, b.dead())[pair], atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_changes_correlations_by_its_rounding(
    run: Path, undisturbed: Path, precision: str, ray_cluster: None
) -> None:
    assert collect(run, "--precision", precision) == 0
    exact, half = (statistics.read(RunStore(str(folder))) for folder in (undisturbed, run))
    for layer in ("conv1", "conv5", "fc8"):
        values = []
        for found in (exact, half):
            of_layer = found.layer(layer)
            values.append(correlations(of_layer.all, of_layer.dead())[0, 1])
        assert 0 < np.nanmax(np.abs(values[0] - values[1])) < (0.05 if precision == "bfloat16" else 0.01)
        np.testing.assert_array_equal(np.isnan(values[0]), np.isnan(values[1]))


@pytest.mark.slow
def test_fully_connected_layers_of_one_sample_per_fold_are_correlated(
    run: Path, tmp_path: Path, ray_cluster: None
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shipped = pq.read_table(own_images() / "validation-00000-of-00001.parquet")
    pq.write_table(shipped.slice(0, 8), images / "validation.parquet")
    assert collect(run, "--data", str(images)) == 0
    assert main(["align", "--run", str(run)]) == 3
    source = open_source(str(images), "validation")
    pixels, _ = source.decode(np.arange(8), Resize(32))
    store, logits = RunStore(str(run)), []
    for network in stored(store)[:2]:
        net = load_weights(network.spec, checkpoints.weights_of(store, network))
        with torch.inference_mode():
            logits.append(net(network.spec.preprocessing.evaluation(torch.from_numpy(pixels))).double().numpy())
    rows = table(run, "correlations").query("layer == 'fc8' and net_a == 'net1' and net_b == 'net2'")
    expected = np.corrcoef(logits[0].T, logits[1].T)[:10, 10:]
    units = table(run, "units").query("layer == 'fc8'").set_index("net")["is_rare"]
    rare = [units[f"net{n}"].to_numpy() for n in (1, 2)]
    assert not any(of_net.all() for of_net in rare)
    expected[rare[0]] = np.nan
    expected[:, rare[1]] = np.nan
    np.testing.assert_allclose(rows["value"].to_numpy().reshape(10, 10), expected, atol=5e-6)


def test_statistics_of_another_version_are_refused_in_one_sentence(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(str(tmp_path))
    index = RunStore(str(undisturbed)).read_json("statistics/statistics.json")
    store.write_json("statistics/statistics.json", {key: value for key, value in index.items() if key != "format"})
    assert "collected by another version of raycv; run `raycv collect` again" in failing(
        capsys, "align", "--run", str(tmp_path)
    )


@pytest.mark.slow
def test_the_driver_holds_no_partials(run: Path, ray_cluster: None) -> None:
    """They go from the actors to the run's folder, so neither the driver nor the object store grows with the shards."""
    peak, seen, over = 0, 0, threading.Event()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def watch() -> None:
        nonlocal peak, seen
        while not over.wait(0.05):
            peak = max(peak, resident())
            with contextlib.suppress(FileNotFoundError):  # they are removed in the end
                seen = max(seen, sum(path.stat().st_size for path in partials(run)))

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert collect(run, "--shard-size", "10") == 0
    finally:
        over.set()
        watcher.join()
    assert seen > 100 * 2**20
    assert peak - before < 50 * 2**20


def test_a_finished_pass_is_not_repeated(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.npz")}
    assert collect(undisturbed, "--shard-size", "50") == 0
    assert "already finished, nothing to do" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.npz")}


def test_aligning_again_does_nothing_or_makes_the_same_rows(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: table(undisturbed, name) for name in WRITTEN}
    assert main(["align", "--run", str(undisturbed)]) == 3
    assert "already finished, nothing to do" in capsys.readouterr().out
    shutil.rmtree(undisturbed / "tables/units")
    assert main(["align", "--run", str(undisturbed)]) == 3
    for name, frame in before.items():
        pd.testing.assert_frame_equal(table(undisturbed, name), frame)


def partials(run: Path) -> list[Path]:
    return list(run.glob("statistics/*/partials/shard-*.npz"))


def wait_for_partials(run: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(partials(run)) < count:
        assert time.monotonic() < deadline, "the pass does not get going"
        time.sleep(0.02)


def test_a_killed_actor_is_not_noticed_in_the_result(run: Path, undisturbed: Path, ray_cluster: None) -> None:
    killed: list[int] = []

    def kill() -> None:
        wait_for_partials(run, 2)
        killed.extend(processes(b"ray::ShardActor")[:1])
        for process in killed:
            os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    code = collect(run, "--actors", "2", "--shard-size", "50")
    killer.join()
    assert code == 0
    assert killed
    assert bits(run) == bits(undisturbed)


@pytest.fixture
def driver(run: Path) -> Iterator[subprocess.Popen[str]]:
    """The pass in a process of its own, with its own small cluster."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "raycv", "collect", "--run", str(run), "--shard-size", "50"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_killed_driver_takes_up_its_partials(
    run: Path, undisturbed: Path, driver: subprocess.Popen[str], capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    wait_for_partials(run, 3)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert collect(run, "--shard-size", "50") == 0
    assert "shards are already done" in capsys.readouterr().out
    assert bits(run) == bits(undisturbed)
    assert not partials(run)  # tidied up


@pytest.mark.slow
def test_a_store_that_fails_for_a_while_changes_nothing(
    template: Path, run: Path, images: Path, s3_server: S3Server, ray_cluster: None
) -> None:
    """Images and run are on S3; the server is killed in the middle of the pass and again while folds are reduced."""
    assert collect(run, "--data", str(images), "--shard-size", "5") == 0
    remote, data = (f"s3://{BUCKET}/{uuid.uuid4().hex}" for _ in range(2))
    store = RunStore(remote)
    for place, folder in ((store, template), (RunStore(data), images)):
        for file in folder.rglob("*.*"):
            place.write(str(file.relative_to(folder)), file.read_bytes())

    def interrupt() -> None:
        for wanted, seconds in (("/shard-", 10), ("/fold", 5)):
            deadline = time.monotonic() + 120
            while sum(wanted in path for path in store.list("statistics")) < 3:
                assert time.monotonic() < deadline
            s3_server.kill()
            time.sleep(seconds)
            s3_server.start()

    interruption = threading.Thread(target=interrupt)
    interruption.start()
    code = main(["collect", "--run", remote, "--data", data, "--actors", "2", "--shard-size", "5"])
    interruption.join()
    assert code == 0
    assert bits(remote) == bits(run)


THREE_NODES = """
import logging, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from raycv.analysis.information import bin_edges, encode
from raycv.cli import main
from raycv.data.readers import own_images
from raycv.data.sampling import choose, elsewhere

run = sys.argv[1]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
print(sum(node["Alive"] for node in ray.nodes()), "nodes")

def lose_a_node():
    while len(list(Path(run).glob("statistics/*/partials/shard-*.npz"))) < 4:
        time.sleep(0.02)
    cluster.remove_node(nodes[0], allow_graceful=False)
    print("a node is gone", flush=True)

threading.Thread(target=lose_a_node, daemon=True).start()
code = main(["collect", "--run", run, "--actors", "3", "--shard-size", "50"])
ray.shutdown()
cluster.shutdown()
sys.exit(code)
"""


@pytest.mark.slow
def test_a_lost_node_is_not_noticed_in_the_result(run: Path, undisturbed: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", THREE_NODES, str(run)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 nodes" in done.stdout
    assert "a node is gone" in done.stdout
    assert bits(run) == bits(undisturbed)


def test_unequal_networks_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = spec(4, 6).model_copy(update={"layers": ("conv1", "fc8")})
    checkpoints.save(RunStore(str(run)), other, build(other).state_dict())
    said = failing(capsys, "collect", "--run", str(run))
    assert "differ: net4 has the layers conv1, fc8 and net1 has conv1, conv2" in said


def test_activations_that_are_not_finite_are_named(
    run: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    net = build(spec(2, 6))
    with torch.no_grad():
        net.get_parameter("conv3.0.bias")[1] = 3e38  # sums of one of the layers after it leave single precision
    checkpoints.save(RunStore(str(run)), spec(2, 6), net.state_dict())
    said = failing(capsys, "collect", "--run", str(run))
    assert re.search("Layer (conv[345]|fc6) of net2 gives activations that are not finite for image", said)
    assert not (run / "statistics/statistics.json").exists()
    assert "collect" not in record.read(RunStore(str(run)))["stages"]


def test_damaged_weights_are_refused(run: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None) -> None:
    weights = run / "networks/net1/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    assert "is not the file that training wrote" in failing(capsys, "collect", "--run", str(run))


@pytest.mark.parametrize("layer", ["conv1", "conv4", "fc6", "fc8"])
def test_top_patches_are_the_best_of_distinct_images(
    undisturbed: Path, activations: dict[str, list[np.ndarray]], layer: str
) -> None:
    top = top_patches(statistics.read(RunStore(str(undisturbed)))).query("layer == @layer")
    for n, width in enumerate(WIDTHS):
        samples = activations[layer][n].reshape(2000, -1, activations[layer][n].shape[1])
        rows = top[top["net"] == f"net{n + 1}"].sort_values(["unit", "rank"])
        assert rows["rank"].tolist() == [*range(1, 10)] * samples.shape[2]
        assert not rows.duplicated(["unit", "image"]).any()
        fields = receptive_fields(spec(n + 1, width))[layer]
        position = (rows["row"] * len(fields.columns) + rows["col"]).to_numpy()
        # The value stands where the row says, and is the unit's best of that rank, but for rounding in other batches.
        there = samples[rows["image"], position, rows["unit"]]
        best = -np.sort(-samples.max(1), axis=0)[:9].T.ravel()
        np.testing.assert_allclose(rows["value"], there, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(rows["value"], best, rtol=1e-5, atol=1e-5)
        for name, values in fields.boxes(position).items():
            np.testing.assert_array_equal(rows[name], values)


def test_class_purity_is_that_of_the_images(undisturbed: Path) -> None:
    top = top_patches(statistics.read(RunStore(str(undisturbed)))).query("layer == 'conv3'")
    _, labels = open_source("cifar10-subset", "validation").decode(top["image"].to_numpy(), Resize(32))
    classes = top.assign(label=labels).groupby(["net", "unit"])["label"]
    expected = classes.agg(lambda of_unit: of_unit.value_counts().max() / len(of_unit))
    found = table(undisturbed, "units").query("layer == 'conv3' and not is_dead").set_index(["net", "unit"])
    pd.testing.assert_series_equal(
        found["class_purity"],
        expected.reindex(found.index),
        check_names=False,
        check_dtype=False,
        check_index_type=False,
    )


def test_the_top_patches_of_a_silent_unit_are_the_first_images(undisturbed: Path) -> None:
    found = top_patches(statistics.read(RunStore(str(undisturbed))))
    rows = found.query("layer == 'conv1' and net == 'net1' and unit == 0")
    assert rows.sort_values("rank")["image"].tolist() == [*range(9)]
    assert not rows[["value", "row", "col"]].to_numpy().any()


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_joint_activations_are_those_of_matched_units(
    undisturbed: Path, activations: dict[str, list[np.ndarray]], layer: str
) -> None:
    joint = table(undisturbed, "joint_activations").query("layer == @layer")
    matched = table(undisturbed, "matchings").query(
        "layer == @layer and net_a == 'net1' and net_b == 'net2' and similarity == 'correlation' and method == 'semi'"
    )
    ranked = matched[matched["unit_b"] >= 0].sort_values("value", ascending=False, kind="stable")
    shown = joint.drop_duplicates("unit_a")
    assert len(shown) == min(8, len(ranked))
    assert shown["unit_a"].iloc[[0, -1]].tolist() == ranked["unit_a"].iloc[[0, -1]].tolist()  # the best and the worst
    assert set(zip(shown["unit_a"], shown["unit_b"], strict=True)) <= set(
        zip(ranked["unit_a"], ranked["unit_b"], strict=True)
    )
    positions = len(activations[layer][0]) // 2000
    chosen = choose(np.arange(2000), positions, 2000)
    first = np.argsort(chosen.rank)[:5000]
    samples = [values[chosen.image[first] * positions + chosen.position[first]] for values in activations[layer][:2]]
    for (a, b), rows in joint.groupby(["unit_a", "unit_b"]):
        assert rows["sample"].tolist() == [*range(5000)]
        np.testing.assert_allclose(rows["value_a"], samples[0][:, a], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(rows["value_b"], samples[1][:, b], rtol=1e-5, atol=1e-5)
