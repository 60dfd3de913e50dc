"""`raycv clean` on a disk and on a real S3 server: it removes what was left, and nothing that is finished."""

from __future__ import annotations

import uuid

import pytest

from raycv.cli import main
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.drivers import driver
from tests.support.half_done import LEFT, half_done


def test_what_is_finished_stays(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    before = half_done(store)
    if "://" not in store.uri:
        with open(f"{store.uri}/figures/.{uuid.uuid4().hex}.part", "wb") as file:
            file.write(b"12345")
    assert main(["clean", "--run", store.uri]) == 0
    said = capsys.readouterr().out
    assert store.sizes() == {path: size for path, size in before.items() if path not in LEFT}
    assert "removed checkpoints of a training that did not finish: 1 files, 8,000 bytes" in said
    assert said.count("clean: removed") == len(LEFT) + ("://" not in store.uri)
    assert main(["clean", "--run", store.uri]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_no_driver_is_disturbed(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    before = half_done(store)
    with driver(store.uri, "sweep mapping") as at_work:
        assert f"is being done by process {at_work.pid}" in failing(capsys, "clean", "--run", store.uri)
    assert store.sizes().keys() - {"leases/sweep-mapping.json"} == before.keys()


def test_a_study_is_no_run(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.write_json("run.json", {"study": True, "config": {}, "stages": {}})
    assert "is the folder of a study, not a run" in failing(capsys, "clean", "--run", store.uri)
