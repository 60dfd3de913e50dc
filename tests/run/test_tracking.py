"""Trackers, read back by TensorBoard's and MLflow's own readers, and by the messages that wandb's service writes."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raycv.errors import UserError
from raycv.run.names import is_ours
from raycv.run.store import RunStore
from raycv.run.tracking import track_rows, tracker


def test_tensorboard_reads_what_is_written(store: RunStore, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = tracker("tensorboard", store, "sweep mapping")
    for step in (1, 2):
        told.log("net1", step, {"loss": 1 / step, "top1": 0.5})
    told.log("net2", 1, {"loss": 3.0})
    told.close()
    files = store.list("tracking")
    assert all(is_ours(path) for path in files)
    assert {path.rpartition("/")[0] for path in files} == {f"tracking/sweep-mapping/net{n}" for n in (1, 2)}
    for path in files:
        copy = tmp_path / "copies" / path
        copy.parent.mkdir(parents=True)
        copy.write_bytes(store.read(path))
    found = EventAccumulator(str(tmp_path / "copies/tracking/sweep-mapping/net1")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
    assert [event.value for event in found.Scalars("top1")] == [0.5, 0.5]


def test_mlflow_has_what_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    store = RunStore(str(tmp_path / "run"))
    rows = pd.DataFrame(
        {
            "layer": ["conv1"] * 4 + ["conv2"],
            "decay": [0.0, 0.0, 0.1, 0.1, 0.1],
            "loss": [0.1, 0.3, 0.2, 0.4, float("nan")],
            "solver": "exact",
        }
    )
    track_rows(tracker("mlflow", store, "sweep mapping"), rows, ("layer", "solver"), "decay", ("loss",))
    client = MlflowClient()
    experiment = client.get_experiment_by_name(store.uri)
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"sweep mapping: conv1-exact", "sweep mapping: conv2-exact"}
    run = runs["sweep mapping: conv1-exact"]
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, round(point.value, 9)) for point in history] == [(0, 0.2), (1, 0.3)]
    assert "loss" not in runs["sweep mapping: conv2-exact"].data.metrics


def wandb_records(file: Path) -> Iterator[Any]:
    """The messages in the log of a W&B run that is shorter than a block: after a head of 7 bytes, each has one of 7."""
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")  # whose types name no messages
    content, at = file.read_bytes(), 7
    assert len(content) < 2**15
    while at < len(content):
        _checksum, length, _kind = struct.unpack_from("<IHB", content, at)
        at += 7
        yield messages.Record.FromString(content[at : at + length])
        at += length


SECRET = "local-" + "0123456789abcdef" * 2 + "01234567"


def test_wandb_has_what_is_logged_without_an_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    import wandb

    wandb.teardown()  # which has read the environment
    told = tracker("wandb", RunStore(str(tmp_path / "run")), "train")
    for step in (1, 2):
        for net in ("net1", "net2"):
            told.log(net, step, {"loss": 1 / step})
    told.close()
    wandb.teardown()
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    found = {}
    for file in files:
        records = list(wandb_records(file))
        (run,) = (record.run for record in records if record.HasField("run"))
        assert (run.project, run.run_group) == ("raycv", str(tmp_path / "run"))
        assert records[-1].HasField("exit")
        items = [record.history.item for record in records if record.HasField("history")]
        rows = [{item.nested_key[0]: json.loads(item.value_json) for item in row if item.nested_key} for row in items]
        found[run.display_name] = [(row["_step"], row["loss"]) for row in rows]
    assert found == {"train: net1": [(1, 1.0), (2, 0.5)], "train: net2": [(1, 1.0), (2, 0.5)]}
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in content for content in [*written, (said.out + said.err).encode()])


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "Weights & Biases has no key of yours; give it by `wandb login` or WANDB_API_KEY"),
        ({"WANDB_API_KEY": SECRET}, r"Weights & Biases cannot be reached, or refuses the key \(\w+\); check"),
    ],
)
def test_without_a_key_or_a_server_wandb_is_refused_before_any_work(
    environment: dict[str, str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    mine = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_DIR": str(tmp_path)}
    for name, value in (mine | {"WANDB_BASE_URL": "http://127.0.0.1:9"} | environment).items():
        monkeypatch.setenv(name, value)
    import wandb

    wandb.teardown()
    with pytest.raises(UserError, match=sentence) as refused:
        tracker("wandb", RunStore(str(tmp_path / "run")), "train")
    wandb.teardown()
    assert SECRET not in str(refused.value)


def test_a_tracker_that_cannot_be_reached_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/file")
    with pytest.raises(UserError, match="MLflow refuses the experiment .*; check MLFLOW_TRACKING_URI"):
        tracker("mlflow", RunStore(str(tmp_path / "run")), "train")


def test_a_tracker_that_fails_on_the_way_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = tracker("tensorboard", RunStore(str(tmp_path / "run")), "train")
    told.log("net1", 1, {"loss": 1.0})
    for _ in range(2):
        told.log("net1", 2, {"loss": "no number"})  # type: ignore[dict-item]
    told.close()
    assert capsys.readouterr().out.count("tensorboard has failed") == 1


def test_without_a_tracker_nothing_is_written(tmp_path: Path) -> None:
    told = tracker(None, RunStore(str(tmp_path / "run")), "train")
    told.log("net1", 1, {"loss": 1.0})
    told.close()
    assert not (tmp_path / "run").exists()
