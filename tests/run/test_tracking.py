"""Trackers, read back by TensorBoard's and MLflow's own readers."""

from __future__ import annotations

from pathlib import Path

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
