"""The commands that come after a run, on a real cluster: tables, what they say, what a killed driver leaves."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from raycv.cli import main
from raycv.run import record, tables
from raycv.run.schema import ALL
from raycv.run.store import RunStore
from raycv.stages.registry import AFTER_RUN
from tests.support.commands import failing
from tests.support.here import work_here
from tests.support.s3_server import BUCKET

AFTER = [stage.name for stage in AFTER_RUN]

ROOT = Path(__file__).parents[2]
FLAGS = {
    "prune": ["--fractions", "0.5"],
    "ablate": ["--single-units", "0"],
    "ensemble": ["--readout-images", "100"],
    "stitch": ["--decays", "0.001"],
}


def written(stage: str) -> list[str]:
    return [table.name for table in ALL if table.stage == stage]


@pytest.mark.parametrize("stage", list(FLAGS))
def test_it_writes_its_tables_once(
    stage: str, aligned_run: RunStore, ray_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(aligned_run.uri, tmp_path / "run")
    store = RunStore(str(tmp_path / "run"))
    command = [stage, "--run", store.uri, *FLAGS[stage]]
    assert main(command) == 0
    assert tables.are_whole(store, written(stage))
    assert record.is_of(store, stage, "collect")
    assert not store.list("parts")
    assert "decays" not in store.read_json("run.json")["config"]  # those are the run's sweep's
    said = capsys.readouterr().out
    assert all(store.locate(f"tables/{name}") in said for name in written(stage))
    assert main(command) == 0
    assert "already finished, nothing to do" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(FLAGS))
def test_on_s3_it_writes_the_same(stage: str, aligned_run: RunStore, s3_server: None, ray_cluster: None) -> None:
    store = RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    for path in aligned_run.list(""):
        if not path.startswith("leases/"):
            store.write(path, aligned_run.read(path))
    assert main([stage, "--run", store.uri, *FLAGS[stage]]) == 0
    assert tables.are_whole(store, written(stage))
    assert not store.list("parts")


def commands() -> list[list[str]]:
    """What the manual tells a reader to do after a run, word by word."""
    texts = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    found = re.findall(rf"^raycv ((?:{'|'.join(AFTER)}) .*)$", "\n".join(texts), re.MULTILINE)
    return [shlex.split(command) for command in dict.fromkeys(found)]


def test_every_stage_stands_in_the_manual() -> None:
    assert {command[0] for command in commands()} == {*AFTER}


@pytest.fixture(scope="module")
def here() -> Iterator[pytest.MonkeyPatch]:
    """The stages do their work in this process, in one thread as the actors do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        yield patch
    torch.set_num_threads(threads)


@pytest.fixture
def run_here(aligned_run: RunStore, here: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RunStore]:
    """A copy of the run; the stages do as little as the settings allow."""
    shutil.copytree(aligned_run.uri, tmp_path / "run")
    little = {"FRACTIONS": "0.5", "SINGLE_UNITS": "0", "READOUT_IMAGES": "100", "DECAYS": "0.001", "ALPHAS": "0.5"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in little.items():
            patch.setenv(f"RAYCV_{name}", value)
        yield RunStore(str(tmp_path / "run"))


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_what_the_manual_tells_is_so(
    command: list[str], run_here: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([run_here.uri if word == "RUN" else word for word in command]) == 0
    assert tables.are_whole(run_here, written(command[0]))
    assert run_here.locate(f"tables/{written(command[0])[0]}") in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_driver_leaves_what_it_has_done(
    aligned_run: RunStore, tmp_path: Path, here: pytest.MonkeyPatch
) -> None:
    shutil.copytree(aligned_run.uri, tmp_path / "run")
    store = RunStore(str(tmp_path / "run"))
    asked = ["--fractions", "0.2,0.4,0.6,0.8"]
    command = [sys.executable, "-m", "raycv", "prune", "--run", store.uri, *asked]
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
    rows = tables.read(store, "pruning")
    assert not rows.duplicated(["layer", "net", "removal_order", "draw", "fraction", "compensated"]).any()
    assert len(rows) == 2 * 3 * 4 * 2 * (6 + 5)  # layers, networks, fractions, compensation; orders and random ones
    undisturbed = RunStore(str(tmp_path / "undisturbed"))
    shutil.copytree(aligned_run.uri, undisturbed.uri)
    assert main(["prune", "--run", undisturbed.uri, *asked]) == 0
    for table in written("prune"):
        pd.testing.assert_frame_equal(tables.read(store, table), tables.read(undisturbed, table), rtol=1e-9)


@pytest.mark.parametrize("stage", list(AFTER))
def test_what_is_missing_is_said(stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = str(tmp_path / "none")
    assert "run `raycv collect` first" in failing(capsys, stage, "--run", empty)
    assert not Path(empty).exists()


def test_a_layer_that_is_not_there(aligned_run: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    said = failing(capsys, "ensemble", "--run", aligned_run.uri, "--readout-layer", "conv9")
    assert "--readout-layer was given 'conv9'" in said
    assert "conv3, fc7; name one of these" in said
