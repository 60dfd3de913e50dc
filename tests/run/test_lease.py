"""Leases with real processes, on a disk and a real S3 server: one driver at a time, and a dead one is no hindrance."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from raycv.errors import UserError
from raycv.run import lease
from raycv.run.filesystem import filesystem
from raycv.run.lease import Lease, held, path_of, state
from raycv.run.store import RunStore
from tests.support.drivers import driver
from tests.support.forgetful_server import forgetful
from tests.support.s3_server import BUCKET, S3Server

RACE = """
import sys, time
from raycv.run.lease import Lease
from raycv.progress import QUIET, speak
from raycv.run.store import RunStore
speak(QUIET)
store, start = RunStore(sys.argv[1]), float(sys.argv[2])
store.exists("x")
for n in range(20):
    time.sleep(max(start + n / 10 - time.time(), 0))
    print(int(Lease(store, f"stage{n}").take() is None), flush=True)
time.sleep(1000)  # a process that ends loses its leases
"""


def race(store: RunStore) -> list[int]:
    """How many of three drivers that start at the same moment have got a lease, twenty times."""
    start = str(time.time() + 4)
    racers = [subprocess.Popen([sys.executable, "-c", RACE, store.uri, start], stdout=-1, text=True) for _ in range(3)]
    try:
        got = [[int(racer.stdout.readline()) for _ in range(20)] for racer in racers if racer.stdout]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    return [sum(of_stage) for of_stage in zip(*got, strict=True)]


@pytest.mark.slow
def test_of_drivers_that_start_together_one_works(store: RunStore) -> None:
    assert race(store) == [1] * 20


@pytest.mark.slow
def test_of_drivers_that_take_over_together_one_works(store: RunStore) -> None:
    race(store)  # leaves leases of dead processes
    assert race(store) == [1] * 20


def test_a_second_driver_hears_who_is_at_work(store: RunStore) -> None:
    with driver(store.uri, "sweep mapping") as first:
        with (
            pytest.raises(
                UserError, match=rf"^sweep mapping of .* is being done by process {first.pid} on .*, since .* UTC; "
            ),
            held(store, ["collect", "sweep mapping"]),
        ):
            pass
        assert store.list("") == ["leases/sweep-mapping.json"]
        with held(store, ["sweep clusters"]):  # other stages and other runs work side by side
            assert state(store, "sweep clusters") is not None
        with held(RunStore(f"{store.uri}-other"), ["sweep mapping"]):
            pass


def test_who_waits_comes_next(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LOOK", 0.1)
    with driver(store.uri, "collect") as first:
        first.send_signal(signal.SIGINT)
        with held(store, ["collect"], wait=True):
            found = state(store, "collect")
            assert found is not None
            assert found.holder.pid == os.getpid()
        assert first.wait(timeout=60) == 130
    assert store.list("") == []


def test_a_dead_driver_of_this_machine_is_found_at_once(store: RunStore) -> None:
    with driver(store.uri, "collect") as first:
        first.kill()
        first.wait()
        with held(store, ["collect"]):
            pass
    assert store.list("") == []


@pytest.mark.slow
def test_a_dead_driver_of_another_machine_is_given_a_minute(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with driver(store.uri, "collect", elsewhere=True) as first:
        first.kill()
        first.wait()
        with pytest.raises(UserError, match="is being done by"), held(store, ["collect"]):
            pass
        monkeypatch.setattr(lease, "EXPIRY", 2.0)
        with held(store, ["collect"], wait=True):
            assert store.age(path_of("collect")) < 2


@pytest.mark.slow
def test_a_driver_at_work_renews_its_lease(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "EXPIRY", 3.0)
    with driver(store.uri, "collect", every=0.5, expiry=3, elsewhere=True):
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            found = state(store, "collect")
            assert found is not None
            assert found.alive
            time.sleep(0.2)


@pytest.mark.slow
def test_a_driver_that_was_taken_for_dead_stops(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a pause of its machine: the driver that has taken over loses nothing."""
    monkeypatch.setattr(lease, "EXPIRY", 2.0)
    with driver(store.uri, "collect", every=0.5, expiry=2, elsewhere=True) as first:
        first.send_signal(signal.SIGSTOP)
        with held(store, ["collect"], wait=True):
            first.send_signal(signal.SIGCONT)
            _, said = first.communicate(timeout=60)
            found = state(store, "collect")
            assert found is not None
            assert found.holder.pid == os.getpid()
    assert first.returncode == 1
    assert f"now being done by process {os.getpid()} on" in said


def test_it_is_given_back_whatever_happens(store: RunStore) -> None:
    with pytest.raises(ValueError, match="shapes differ"), held(store, ["collect", "align"]):
        raise ValueError("shapes differ")
    assert store.list("") == []
    assert not os.path.exists(store.uri)  # nor is a folder left
    with driver(store.uri, "collect") as first:
        first.send_signal(signal.SIGINT)
        first.wait()
        assert store.list("") == []


def test_a_damaged_lease_is_told(store: RunStore) -> None:
    store.write(path_of("collect"), b"{")
    with pytest.raises(UserError, match=r"collect.json is damaged; remove it"), held(store, ["collect"]):
        pass


def test_a_server_without_conditional_puts_is_told(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with forgetful(s3_server) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        filesystem(f"s3://{BUCKET}")[0].clear_instance_cache()
        store = RunStore(f"s3://{BUCKET}/{uuid.uuid4().hex}")
        with held(store, ["collect"]):
            assert "does not heed conditions (If-None-Match)" in capsys.readouterr().out
            assert isinstance(Lease(store, "collect").take(), lease.Holder)  # one that comes later is refused
        with held(store, ["collect"]):
            assert not capsys.readouterr().out  # said once
        assert store.list("") == []
    monkeypatch.undo()
    filesystem(f"s3://{BUCKET}")[0].clear_instance_cache()


def written(store: RunStore, *, elsewhere: bool, seconds: float) -> lease.Holder:
    """A lease on collect that this process holds, or another machine's, dated so many seconds from now."""
    holder = lease._this_process()
    if elsewhere:
        holder = holder.model_copy(update={"machine": "another machine", "pid": 1})
    store.write(path_of("collect"), lease._content(holder))
    dated = time.time() + seconds
    os.utime(store.locate(path_of("collect")), (dated, dated))
    return holder


@pytest.mark.parametrize("seconds", [-1e8, -61, 0, 61, 1e8])
def test_a_living_driver_of_this_machine_is_alive_whatever_the_clock_says(tmp_path: Path, seconds: float) -> None:
    store = RunStore(str(tmp_path))
    holder = written(store, elsewhere=False, seconds=seconds)
    assert Lease(store, "collect").take() == holder


def test_the_clock_of_this_machine_is_not_compared_with_that_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is an hour ahead of the clock that dates files."""
    store = RunStore(str(tmp_path))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    holder = written(store, elsewhere=True, seconds=-3600)
    assert Lease(store, "collect").take() == holder


@pytest.mark.parametrize("seconds", [-1e6, 1e6])
def test_a_lease_of_another_machine_with_a_wrong_date_is_watched(
    tmp_path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is renewed meanwhile is kept, any other is taken, also where it is dated in the future."""
    for name, value in (("EXPIRY", 0.3), ("WATCH", 0.3), ("LOOK", 0.05)):
        monkeypatch.setattr(lease, name, value)
    store = RunStore(str(tmp_path))
    holder = written(store, elsewhere=True, seconds=seconds)
    renewal = threading.Timer(0.1, lambda: store.write(path_of("collect"), lease._content(holder, "renewed")))
    renewal.start()
    assert Lease(store, "collect").take() == holder
    renewal.join()
    written(store, elsewhere=True, seconds=seconds)
    mine = Lease(store, "collect")
    assert mine.take() is None
    mine.give_back()
