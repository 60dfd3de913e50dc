"""`raycv export` between a disk and a real S3 server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

import raycv
from raycv.cli import main
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.drivers import driver
from tests.support.half_done import half_done
from tests.support.s3_server import BUCKET

RESULTS = {
    "run.json",
    "report.html",
    "figures/training.png",
    "networks/net1/network.json",
    "tables/training/training.parquet",
}


@pytest.fixture(params=["disk", "s3"])
def to(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    request.getfixturevalue("s3_server")
    return str(tmp_path / "to") if request.param == "disk" else f"s3://{BUCKET}/{uuid.uuid4().hex}"


def test_the_results_without_weights(store: RunStore, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    half_done(store)
    assert main(["export", "--run", store.uri, "--to", to]) == 0
    there = RunStore(to)
    assert set(there.sizes()) == RESULTS
    for path in RESULTS:
        assert there.read(path) == store.read(path)
    run = raycv.open_run(to)
    assert run.tables == ["training"]
    assert list(run.table("training")["epoch"]) == [1, 2, 3]
    assert f"{to} is not empty" in failing(capsys, "export", "--run", store.uri, "--to", to)


def test_nothing_is_exported_while_a_stage_runs(store: RunStore, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    half_done(store)
    with driver(store.uri, "align"):
        assert "align of" in failing(capsys, "export", "--run", store.uri, "--to", to)
    assert not RunStore(to).others()


def test_a_place_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half_done(RunStore(str(tmp_path / "run")))
    assert "export needs --to" in failing(capsys, "export", "--run", str(tmp_path / "run"))
    (tmp_path / "file").touch()
    said = failing(capsys, "export", "--run", str(tmp_path / "run"), "--to", str(tmp_path / "file"))
    assert "is not a folder" in said
