"""The main job on a small set of real images: it trains, it resumes to the same weights, it brings networks in."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from raycv.api.run import open_run
from raycv.cli import main
from raycv.config import TrainConfig
from raycv.data.preprocessing import Resize
from raycv.data.sources import open_source
from raycv.networks import checkpoints
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.models import build, load_weights
from raycv.networks.stored import kept_epochs, stored
from raycv.run import record
from raycv.run.names import is_ours
from raycv.run.paths import NETS, NULL
from raycv.run.store import RunStore
from raycv.stages.align.nulls import LayerNulls
from raycv.stages.train import fit
from raycv.stages.train.job import TrainJob
from raycv.statistics.reader import read as read_statistics
from tests.support.processes import processes
from tests.support.runs import spec

SETTINGS = ("--seeds", "1,2", "--width", "6", "--epochs", "3", "--learning-rate", "0.02", "--keep-epochs", "0,1")


@pytest.fixture(scope="session")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """`raycv run`, undisturbed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    interrupt = signal.getsignal(signal.SIGINT)
    code = main(["run", "--run", str(run), "--data", str(images), *SETTINGS])
    assert code == (3 if record.read(RunStore(str(run)))["stages"]["align"]["health"]["broken_pairs"] else 0)
    assert signal.getsignal(signal.SIGINT) is interrupt  # Ray Train puts its own in place
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All weights of all networks, after all epochs that were kept."""
    found = {}
    for file in sorted(run.glob("networks/net*/**/weights.safetensors")):
        for name, value in safetensors.torch.load_file(file).items():
            found[f"{file.parent.relative_to(run / 'networks')}.{name}"] = value
    assert found
    return found


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_everything_its_readers_rely_on(finished: Path) -> None:
    training = pd.read_parquet(finished / "tables/training")
    assert sorted(zip(training["net"], training["epoch"], strict=True)) == [
        (net, epoch) for net in ("net1", "net2") for epoch in (1, 2, 3)
    ]
    assert training.groupby("net")["train_loss"].agg(lambda losses: losses.iloc[-1] < losses.iloc[0]).all()
    metrics = pd.read_parquet(finished / "networks/net2/metrics.parquet")
    pd.testing.assert_frame_equal(metrics, training[training["net"] == "net2"].reset_index(drop=True))
    layers = pd.read_parquet(finished / "tables/alignment")["layer"].unique()
    assert list(layers) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert all(map(is_ours, RunStore(str(finished)).sizes()))  # and nothing stays for want of a known name
    figures = {path.name for path in (finished / "figures").iterdir()}
    assert {"figure-01-correlations-conv1.png", "figure-04-layers.png", "filters.png"} <= figures
    noted = record.read(RunStore(str(finished)))
    assert list(noted["stages"]) == STAGES
    assert noted["config"]["seeds"] == [1, 2]
    assert not (finished / "networks/training").exists()  # checkpoints of the training are tidied up
    assert not list(finished.rglob("*.part"))


STAGES = ["train", "collect", "align", "sweep mapping", "sweep clusters", "patches", "figures", "report"]


def test_every_column_says_what_it_means(finished: Path) -> None:
    for name in ("training", "units", "correlations", "matchings", "alignment"):
        for file in (finished / "tables" / name).rglob("*.parquet"):
            for column in pq.read_schema(file):
                assert column.metadata[b"meaning"], (name, column.name)


def test_networks_of_different_seeds_differ(finished: Path) -> None:
    first, second = (safetensors.torch.load_file(finished / f"networks/net{n}/weights.safetensors") for n in (1, 2))
    assert not torch.equal(first["conv1.0.weight"], second["conv1.0.weight"])


def test_a_finished_training_is_not_repeated(finished: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--run", str(finished)]) == 0  # the run remembers its settings
    assert "already finished, nothing to do" in capsys.readouterr().out


# -- through training ----------------------------------------------------------------------------------------------


def at_epoch(run: Path, epoch: int) -> list[torch.nn.Module]:
    """The networks as they were after one of the epochs that were kept."""
    store = RunStore(str(run))
    found = kept_epochs(store)[epoch]
    return [load_weights(network.spec, checkpoints.weights_of(store, network)) for network in found]


def test_networks_are_kept_as_they_were(finished: Path) -> None:
    of_run = open_run(str(finished)).networks
    before, after = at_epoch(finished, 0), at_epoch(finished, 1)
    for described, first, second in zip(of_run.values(), before, after, strict=True):
        assert same(first.state_dict(), build(described).state_dict())
        assert not same(first.state_dict(), second.state_dict())
    assert list(of_run) == ["net1", "net2"]  # those kept of earlier epochs are not networks of the run


def test_the_alignment_after_an_epoch_is_that_of_the_networks_then(finished: Path, images: Path) -> None:
    epochs = pd.read_parquet(finished / "tables/epochs")
    assert sorted(epochs["epoch"].unique()) == [0, 1, 3]
    first, second = at_epoch(finished, 1)
    source = open_source(str(images), "validation")
    pixels, _ = source.decode(np.arange(len(source)), Resize(32))
    inputs = preprocessing_of("small-alexnet").evaluation(torch.from_numpy(pixels))
    with torch.inference_mode():
        a, b = (net.get_submodule("conv1")(inputs).movedim(1, -1).reshape(-1, 6).double() for net in (first, second))
    expected = np.corrcoef(a.numpy().T, b.numpy().T)[:6, 6:]
    row = epochs.query("layer == 'conv1' and epoch == 1 and net_a == 'net1'").iloc[0]
    assert row["mean"] == pytest.approx(expected.max(1).mean(), abs=1e-5)
    last = pd.read_parquet(finished / "tables/matchings").query(
        "layer == 'conv1' and net_a == 'net1' and similarity == 'correlation' and method == 'semi'"
    )
    assert row["same_partner"] == pytest.approx((expected.argmax(1) == last["unit_b"]).mean())


def test_epochs_agree_with_what_is_known_of_the_ends(finished: Path) -> None:
    """Before training the networks are the untrained ones; after it they are those of the other tables."""
    epochs = pd.read_parquet(finished / "tables/epochs").set_index(["layer", "net_a", "net_b"])
    alignment = pd.read_parquet(finished / "tables/alignment").query("similarity == 'correlation' and method == 'semi'")
    alignment = alignment.set_index(["layer", "net_a", "net_b"])
    for column in ("mean", "rotated_mean", "excess"):
        pd.testing.assert_series_equal(epochs.query("epoch == 3")[column], alignment[column], check_index=True)
    before = epochs.query("epoch == 0").groupby("layer")[["mean", "excess"]].mean()
    untrained = alignment.groupby("layer")[["untrained_mean", "untrained_excess"]].mean()
    np.testing.assert_allclose(before, untrained, rtol=1e-9)
    assert (epochs.query("epoch == 3")[["same_partner", "settled"]] == 1).all(axis=None)


def test_the_null_before_the_relu_is_the_same_after_every_epoch(finished: Path) -> None:
    """One draw, also of the final networks, of which alignment averages more."""
    epochs = pd.read_parquet(finished / "tables/epochs").set_index(["epoch", "layer", "net_a"])
    found = read_statistics(RunStore(str(finished)))
    for group, epoch in ((NULL, 0), (found.epochs[0], 0), (found.epochs[1], 1), (NETS, 3)):
        for layer in ("conv1", "conv5", "fc6"):
            of_layer = LayerNulls(found, layer, group, (0, 1))
            for a, b in ((0, 1), (1, 0)):
                mixed = of_layer.by_chance("prerelu", a, b)
                assert mixed is not None
                best = np.nanmax(np.abs(mixed)[~np.isnan(mixed).all(axis=1)], axis=1).mean()
                assert epochs.loc[(epoch, layer, f"net{a + 1}"), "prerelu_mean"] == pytest.approx(best, rel=1e-6)


@pytest.mark.slow
def test_networks_that_share_their_first_epoch(images: Path, tmp_path: Path, ray_cluster: None) -> None:
    flags = ("--seeds", "1,2", "--width", "6", "--epochs", "2", "--fork-epoch", "1", "--keep-epochs", "0,1")
    assert main(["train", "--run", str(tmp_path / "run"), "--data", str(images), *flags]) == 0
    for epoch in (0, 1):
        first, second = at_epoch(tmp_path / "run", epoch)
        assert same(first.state_dict(), second.state_dict())
    found = weights(tmp_path / "run")
    assert not torch.equal(found["net1.conv1.0.weight"], found["net2.conv1.0.weight"])


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not what():
        assert time.monotonic() < deadline, "the training does not get going"
        time.sleep(0.05)


def first_epoch(run: Path, net: str = "net1") -> bool:
    """Whether a network has been saved after its first epoch, and the metrics of it, which follow."""
    saved = any(run.glob(f"networks/training/*/saved/{net}/00001.safetensors"))
    return saved and (run / f"networks/{net}/metrics.parquet").exists()


@pytest.mark.slow
def test_a_killed_worker_is_not_noticed_in_the_weights_nor_by_other_networks(
    finished: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    run = tmp_path / "run"
    before: list[int] = []
    after: list[int] = []

    def kill() -> None:
        wait_for(lambda: first_epoch(run))
        before.extend(processes(b"ray::RayTrainWorker"))
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len({*processes(b"ray::RayTrainWorker")} - {before[0]}) == 2)
        after.extend({*processes(b"ray::RayTrainWorker")} - {before[0]})

    killer = threading.Thread(target=kill)
    killer.start()
    code = main(["train", "--run", str(run), "--data", str(images), *SETTINGS])
    killer.join()
    assert code == 0
    assert before[1] in after
    assert capsys.readouterr().out.count("has died; another goes on from the last epoch of") == 1
    assert same(weights(run), weights(finished))
    epochs = pd.read_parquet(run / "tables/training").groupby("net")["epoch"].apply(list)
    assert epochs.tolist() == [[1, 2, 3], [1, 2, 3]]


def of_first_two(run: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights(run).items() if name.startswith(("net1", "net2"))}


FOUR = ("--seeds", "1,2,3,4", *SETTINGS[2:])


@pytest.mark.slow
def test_networks_trained_in_turn_are_those_trained_side_by_side(
    finished: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    """Four networks on two CPUs have two processes, two networks have one each; one of the processes is killed."""
    run = tmp_path / "run"
    before: list[int] = []

    def kill() -> None:
        wait_for(lambda: first_epoch(run))
        before.extend(processes(b"ray::RayTrainWorker"))
        os.kill(before[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    code = main(["train", "--run", str(run), "--data", str(images), *FOUR])
    killer.join()
    assert code == 0
    assert len(before) == 2
    assert capsys.readouterr().out.count("has died; another goes on from the last epoch of") == 2
    assert same(of_first_two(run), weights(finished))
    epochs = pd.read_parquet(run / "tables/training").groupby("net")["epoch"].apply(list)
    assert epochs.tolist() == [[1, 2, 3]] * 4


@pytest.mark.parametrize(
    ("cpus", "networks", "workers", "trained_by"),
    [
        (2, 4, 1, [[(0, 0), (2, 0)], [(1, 0), (3, 0)]]),
        (2, 3, 1, [[(0, 0)], [(1, 0)], [(2, 0)]]),  # in turn one CPU would be idle in the end
        (8, 2, 1, [[(0, 0)], [(1, 0)]]),
        (0, 2, 1, [[(0, 0)], [(1, 0)]]),  # nodes of half a CPU
        (1, 2, 2, [[(0, 0)], [(0, 1)], [(1, 0)], [(1, 1)]]),  # replicas wait for each other
    ],
)
def test_which_process_trains_what(
    cpus: int, networks: int, workers: int, trained_by: list[list[tuple[int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raycv.distributed.ray_cluster.of_nodes", lambda: [{"CPU": cpus + 0.5}])
    processes = fit._processes(TrainConfig(workers=workers), networks)
    shares = SimpleNamespace(specs=range(networks), workers=workers, processes=processes)
    assert [TrainJob.trained_by(shares, rank) for rank in range(processes)] == trained_by  # type: ignore[arg-type]


@pytest.mark.slow
def test_deaths_with_progress_between_them_are_not_counted(
    finished: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ray_cluster: None,
) -> None:
    """With no death allowed, the network is begun again from its last epoch, for one was finished before."""
    monkeypatch.setattr("raycv.stages.train.fit.WORKER_DEATHS", 0)
    run = tmp_path / "run"

    def kill() -> None:
        wait_for(lambda: first_epoch(run))
        for process in processes(b"ray::RayTrainWorker")[:1]:
            os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    code = main(["train", "--run", str(run), "--data", str(images), *SETTINGS])
    killer.join()
    assert code == 0
    assert same(weights(run), weights(finished))


@pytest.mark.slow
def test_a_killed_driver_resumes_at_its_last_epoch(
    finished: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    run = tmp_path / "run"
    command = ["train", "--run", str(run), "--data", str(images), *SETTINGS]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with subprocess.Popen([sys.executable, "-m", "raycv", *command], env=environment) as driver:
        wait_for(lambda: first_epoch(run))
        driver.kill()
    before = pd.read_parquet(run / "networks/net1/metrics.parquet")
    assert main(command) == 0
    assert same(weights(run), weights(finished))
    after = pd.read_parquet(run / "networks/net1/metrics.parquet")
    # The first epoch was not run again: its time is the one measured before the kill.
    assert after["seconds"].iloc[0] == before["seconds"].iloc[0]


@pytest.mark.slow
def test_a_training_that_is_refused_in_its_first_epoch_leaves_nothing(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    """Not even an empty folder, which the command with a lower rate would take for someone else's."""
    run = tmp_path / "run"
    given = ("--data", str(images), "--seeds", "1,2", "--width", "3", "--learning-rate", "1e30", "--keep-epochs", "0")
    assert "diverged in epoch 1" in refused(capsys, "--run", str(run), *given)
    assert not RunStore(str(run)).others()


@pytest.mark.slow
def test_two_workers_share_each_network(images: Path, tmp_path: Path, ray_cluster: None) -> None:
    run = tmp_path / "run"
    flags = ("--seeds", "1,2", "--width", "6", "--epochs", "1", "--workers", "2")
    assert main(["train", "--run", str(run), "--data", str(images), *flags]) == 0
    training = pd.read_parquet(run / "tables/training")
    assert training["net"].tolist() == ["net1", "net2"]
    assert np.isfinite(training["train_loss"]).all()
    # Data-parallel steps are not those of one worker, but validation counts every image once.
    counted = training["validation_top1"] * 160
    np.testing.assert_allclose(counted, counted.round(), atol=1e-6)


# -- networks brought in -------------------------------------------------------------------------------------------


def shuffled(state: dict[str, torch.Tensor], seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    """The same function with the units of every hidden layer renumbered: new unit i is old unit order[i]."""
    rng = np.random.default_rng(seed)
    result, orders = dict(state), {}
    layers = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    incoming: np.ndarray | None = None
    for layer in layers:
        name = layer if layer == "fc8" else f"{layer}.0"
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        if incoming is not None:
            if layer == "fc6":  # each channel of conv5 feeds a block of inputs
                positions = weight.shape[1] // len(incoming)
                incoming = (incoming[:, None] * positions + np.arange(positions)).ravel()
            weight = weight[:, torch.from_numpy(incoming)]
        if layer != "fc8":
            orders[layer] = rng.permutation(len(bias))
            incoming = orders[layer]
            weight, bias = weight[torch.from_numpy(incoming)], bias[torch.from_numpy(incoming)]
        result[f"{name}.weight"], result[f"{name}.bias"] = weight.contiguous(), bias.contiguous()
    return result, orders


@pytest.mark.slow
def test_a_shuffled_copy_matches_perfectly(
    finished: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    """The control: a network and its copy with renumbered units, one as safetensors, one as PyTorch saves it."""
    original = safetensors.torch.load_file(finished / "networks/net1/weights.safetensors")
    copy, orders = shuffled(original)
    safetensors.torch.save_file(original, tmp_path / "a.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in copy.items()}}, tmp_path / "b.pth")
    run = str(tmp_path / "run")
    given = f"{tmp_path / 'a.safetensors'},{tmp_path / 'b.pth'}"
    assert main(["run", "--run", run, "--data", str(images), "--checkpoints", given, "--width", "6"]) == 0
    assert "match class by class" in capsys.readouterr().out
    units = pd.read_parquet(f"{run}/tables/units").query("net == 'net1'").set_index(["layer", "unit"])
    left_out = units["is_dead"] | units["is_rare"]
    matchings = pd.read_parquet(f"{run}/tables/matchings").query(
        "net_a == 'net1' and net_b == 'net2' and similarity == 'correlation'"
    )
    for layer, order in orders.items():
        for method in ("semi", "bipartite"):
            rows = matchings[(matchings["layer"] == layer) & (matchings["method"] == method)]
            alive = ~left_out.loc[layer].to_numpy()
            np.testing.assert_allclose(rows["value"][alive], 1, atol=1e-5)
            np.testing.assert_array_equal(order[rows["unit_b"][alive]], rows["unit_a"][alive])
    alignment = pd.read_parquet(f"{run}/tables/alignment").query(
        "method == 'bipartite' and similarity == 'correlation'"
    )
    np.testing.assert_allclose(alignment["mean"], 1, atol=1e-5)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["train", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("raycv: ")
    assert "\n" not in said
    return said


def test_checkpoints_that_cannot_be_used(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    common = ("--run", str(run), "--data", str(images), "--width", "6")
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"junk")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, foreign)
    both = f"{junk},{foreign}"
    assert "junk.pth is neither safetensors nor a PyTorch state dict" in refused(capsys, *common, "--checkpoints", both)
    assert "do not fit the model small-alexnet" in refused(capsys, *common, "--checkpoints", f"{foreign},{foreign}")
    assert "no such file" in refused(capsys, *common, "--checkpoints", f"{tmp_path}/no.pth,{foreign}")
    assert not run.exists()  # nothing half-written


def test_imported_networks_need_no_training_images(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    (data / "validation.parquet").write_bytes((images / "validation.parquet").read_bytes())
    names = []
    for number in (1, 2):
        names.append(f"{tmp_path}/{number}.safetensors")
        state = build(spec(number, 6)).state_dict()
        safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, names[-1])
    command = ["train", "--run", str(run), "--data", str(data), "--checkpoints", ",".join(names), "--width", "6"]
    assert main(command) == 0
    assert sorted(network.spec.name for network in stored(RunStore(str(run)))) == ["net1", "net2"]
    assert main(command) == 0
    assert "already finished, nothing to do" in capsys.readouterr().out
    assert "no train images" in refused(capsys, "--run", str(tmp_path / "other"), "--data", str(data))


def test_settings_that_cannot_be_used(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("--run", str(tmp_path / "run"), "--data", str(images))
    assert "no model 'resnet1'; choose small-alexnet" in refused(capsys, *common, "--model", "resnet1")
    assert "layer4.1 (512), " in refused(capsys, *common, "--model", "resnet18")
    said = refused(capsys, *common, "--model", "vit_b_16")
    assert "name the layers to compare" in said
    assert "encoder.layers.encoder_layer_11 (768)" in said
    assert "has no layer 'conv6'" in refused(capsys, *common, "--layers", "conv6")
    assert "is not there; name a folder" in refused(capsys, "--run", str(tmp_path / "run"), "--data", "/no/such")
    assert "has 640 training images, fewer than the 641 asked for" in refused(capsys, *common, "--train-images", "641")
    assert "width has 2 values for 3 networks" in refused(capsys, *common, "--seeds", "1,2,3", "--width", "6,9")
    late = refused(capsys, *common, "--epochs", "3", "--keep-epochs", "0,3")
    assert "--keep-epochs names epoch 3, and training ends after epoch 3" in late
    assert "--fork-epoch names epoch 4" in refused(capsys, *common, "--epochs", "3", "--fork-epoch", "4")
    assert "one model and width" in refused(capsys, *common, "--width", "6,6,6,9", "--fork-epoch", "1")
    assert "not for checkpoints" in refused(capsys, *common, "--checkpoints", "a,b", "--keep-epochs", "1")
    assert not (tmp_path / "run").exists()


def test_sets_that_cannot_be_used(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    data.mkdir()
    table = pq.read_table(images / "train.parquet")
    pq.write_table(table, data / "train.parquet")
    two = json.dumps({"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}})
    pq.write_table(table.slice(0, 20).replace_schema_metadata({"huggingface": two}), data / "validation.parquet")
    assert "have 10 classes and the validation images 2" in refused(capsys, "--run", str(run), "--data", str(data))
    broken = table.slice(0, 40).to_pylist()
    broken[33]["image"]["bytes"] = b"no image"
    pq.write_table(pa.Table.from_pylist(broken, schema=table.schema), data / "train.parquet")
    pq.write_table(table.slice(0, 40), data / "validation.parquet")
    assert "train.parquet, row 33 is corrupt" in refused(capsys, "--run", str(run), "--data", str(data))
    assert not run.exists()


def test_a_copy_of_a_network_is_stored_under_its_own_name(finished: Path) -> None:
    """What stands in networks/ is enough to build the network again."""
    store = RunStore(str(finished))
    for network in stored(store):
        net = build(network.spec)
        net.load_state_dict(checkpoints.weights_of(store, network))
        assert re.fullmatch(r"net[12]", network.spec.name)


def test_a_folder_of_someone_elses_files_is_left_alone(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thesis = tmp_path / "networks/net9/thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    assert main(["train", "--run", str(tmp_path), "--data", str(images), *SETTINGS]) == 2
    assert "is not empty and no run: it has no run.json" in capsys.readouterr().err
    assert thesis.read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["networks"]
