"""Two commands on one run: one works, the other says who does, or waits."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raycv.cli import main
from raycv.run import lease
from raycv.run.lease import path_of
from raycv.run.store import RunStore
from tests.support.commands import failing
from tests.support.drivers import driver
from tests.support.half_done import half_done
from tests.support.report_run import write_run


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
    return subprocess.Popen([sys.executable, "-m", "raycv", "report", "--run", run], stdout=-1, stderr=-1, text=True)


@pytest.mark.slow
def test_of_two_commands_that_start_together_one_works(store: RunStore) -> None:
    write_run(store)
    for _ in range(5):
        store.remove("report.html")
        drivers = [start(store.uri), start(store.uri)]
        said = {one.pid: "".join(one.communicate(timeout=300)) for one in drivers}
        (worked,) = [pid for pid, text in said.items() if "MB; open" in text]
        for one in drivers:
            if one.pid != worked:
                refused = one.returncode == 2 and f"is being done by process {worked} on" in said[one.pid]
                late = one.returncode == 0 and "already finished" in said[one.pid]
                assert refused or late, said
        assert store.exists("report.html")
        assert not store.list("leases")


@pytest.mark.slow
def test_a_killed_command_is_followed_at_once(store: RunStore) -> None:
    write_run(store)
    first = start(store.uri)
    while not store.exists(path_of("report")):
        assert first.poll() is None
    first.kill()
    first.communicate()
    said, _ = start(store.uri).communicate(timeout=300)
    assert f"report: taken over from a driver that has died (process {first.pid} on" in said
    assert store.exists("report.html")
    assert not store.list("leases")
