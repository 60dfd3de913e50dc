"""Two commands on one run: one works, the other says who does, or waits."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from raycv.cli import main
from raycv.run import lease
from raycv.run.lease import path_of
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.drivers import driver
from tests.support.half_done import half_done
from tests.support.runs import make_run


def test_the_second_command_is_refused_and_writes_nothing(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    half_done(store)
    with driver(store.uri, "align") as first:
        before = {path: store.read(path) for path in store.list("")}
        for command in ("align", "run", "clean"):
            said = failing(capsys, command, "--run", store.uri)
            assert re.search(rf"align of \S+ is being done by process {first.pid} on \S+, since .* UTC; ", said)
            assert said.endswith("wait for it with --wait.")
        assert {path: store.read(path) for path in store.list("")} == before


def test_a_command_that_waits_goes_on_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LOOK", 0.1)
    run = str(tmp_path / "run")
    half_done(RunStore(run))
    with driver(run, "figures") as first:
        threading.Timer(3, first.send_signal, [signal.SIGINT]).start()
        said = failing(capsys, "figures", "--run", run, "--wait")
    assert "no table 'units' yet" in said  # which it says only when it is its turn


def test_who_only_looks_waits_for_nobody() -> None:
    assert main(["help", "status"]) == 0
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, "-m", "raycv", "status", "--wait"], check=True, capture_output=True)


def start(run: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "raycv", "align", "--run", run], stdout=-1, stderr=-1, text=True)


@pytest.mark.slow
def test_of_two_commands_that_start_together_one_works(store: RunStore, tmp_path: Path) -> None:
    made = make_run(tmp_path / "made")
    for _ in range(3):
        for path in store.list(""):
            store.remove(path)
        for path in RunStore(str(made)).list(""):
            store.write(path, (made / path).read_bytes())
        ended = {one: one.communicate(timeout=300) for one in (start(store.uri), start(store.uri))}
        codes = sorted(one.returncode for one in ended)
        assert codes in ([0, 2], [2, 3]), ended
        (refused,) = [said for one, (_, said) in ended.items() if one.returncode == 2]
        (worked,) = [one.pid for one in ended if one.returncode != 2]
        assert f"is being done by process {worked} on" in refused
        assert not store.list("leases")
        assert store.list("tables/alignment")


@pytest.mark.slow
def test_a_killed_command_is_followed_at_once(tmp_path: Path) -> None:
    made = make_run(tmp_path / "run")
    shutil.copytree(made, tmp_path / "undisturbed")
    first = start(str(made))
    while not (made / path_of("align")).exists():
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.communicate()
    ended = [
        subprocess.run([sys.executable, "-m", "raycv", "align", "--run", str(run)], text=True, capture_output=True)
        for run in (made, tmp_path / "undisturbed")
    ]
    assert f"align: taken over from a driver that has died (process {first.pid} on" in ended[0].stdout
    assert ended[0].returncode == ended[1].returncode
    tables = [
        sorted(path.relative_to(run) for path in (run / "tables").rglob("*.parquet"))
        for run in (made, tmp_path / "undisturbed")
    ]
    assert tables[0] == tables[1] != []
