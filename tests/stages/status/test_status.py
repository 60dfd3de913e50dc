"""`raycv status` on a disk and on a real S3 server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raycv.cli import main
from raycv.run.lease import path_of
from raycv.run.names import is_ours
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.drivers import driver
from tests.support.half_done import half_done


def said(store: RunStore, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The lines of every stage, without the spaces between words."""
    assert main(["status", "--run", store.uri]) == 0
    first, _, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{store.uri}: ")
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("    "):
            found[list(found)[-1]].append(line.strip())
        else:
            found[line[2:17].strip()] = [" ".join(line[17:].split())]
    return found


def test_every_stage_has_its_state(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = half_done(store)
    trained = sum(size for path, size in sizes.items() if path.startswith(("networks/", "tables/training/")))
    with driver(store.uri, "sweep mapping") as mapping, driver(store.uri, "patches") as patches:
        patches.kill()
        patches.wait()
        found = said(store, capsys)
        assert found["sweep mapping"][0] == "running 20 bytes"
        assert found["sweep mapping"][1].startswith(f"held by process {mapping.pid} on ")
    assert found["train"][0].startswith("finished ")
    assert found["train"][0].endswith(f" 1,200.5 3 {trained / 1000:.1f} kB")
    assert found["collect"][0].startswith("failed ")
    assert found["collect"][1].endswith(": The bucket does not exist; create it.")
    assert found["patches"][0] == "died 60 bytes"
    assert found["patches"][1].startswith(f"left by process {patches.pid} on ")
    assert found["sweep clusters"] == ["not done"]
    assert found["prune"] == ["not done 50 bytes"]
    assert "ablate" not in found  # of what comes after a run, only what has begun
    assert store.sizes().keys() - {path_of("patches"), path_of("sweep mapping")} == sizes.keys()


AT_WORK = """
import sys, time
from raycv.progress import Progress
from raycv.run import lease
from raycv.run.store import RunStore
lease.EVERY = 0.2
with lease.held(RunStore(sys.argv[1]), ["collect"]), Progress("collect", 2000, "images") as progress:
    time.sleep(0.5)
    progress.update(512)
    time.sleep(1000)
"""


def test_the_progress_of_another_process_is_seen(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    work = subprocess.Popen([sys.executable, "-c", AT_WORK, store.uri], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not store.exists(path_of("collect")) or b"512 of" not in store.read(path_of("collect")):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        found = said(store, capsys)["collect"]
        assert found[0] == "running"
        assert found[1].startswith("collect: 512 of 2,000 images (26%), ")
    finally:
        os.kill(work.pid, signal.SIGKILL)
        work.wait()


def test_there_must_be_a_run(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no run in" in failing(capsys, "status", "--run", store.uri)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"PAR1",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content[len(content) // 2 :],
        lambda content: content[:-200] + bytes(192) + content[-8:],
        lambda content: content[:-8] + b"\xff\xff\xff\x7fPAR1",
        lambda content: b"text",
    ],
)
def test_damaged_tables_and_leases_are_named_and_hide_nothing(
    damage: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(str(tmp_path / "run"))
    half_done(store)
    store.write(path_of("collect"), b"{")
    path = "tables/training/training.parquet"
    store.write(path, damage(store.read(path)))
    found = said(store, capsys)
    assert f"{store.locate(path)} is not a readable table; remove it and run its stage again." in found["train"]
    assert any(f"{store.locate(path_of('collect'))} is damaged" in line for line in found["collect"])
    assert found["collect"][0].startswith("failed ")


def test_a_table_that_is_being_written_is_not_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = RunStore(str(tmp_path / "run"))
    half_done(store)
    before = said(store, capsys)["train"]
    unfinished = tmp_path / "run/tables/training/.0123456789abcdef0123456789abcdef.part"
    unfinished.write_bytes(b"PAR1")
    assert is_ours("tables/training/" + unfinished.name)
    assert len(said(store, capsys)["train"]) == len(before)
