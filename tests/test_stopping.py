"""Ctrl-C, with real processes and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.run import record
from raycv.run.store import RunStore
from tests.support.processes import processes
from tests.support.runs import make_run, spec

SAID = "raycv: stopped; the same command goes on from here\n"
STUBBORN = """
import signal, subprocess, sys, time
from raycv.stopping import stoppable
with stoppable(lambda: print("last", flush=True)):
    child = subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], start_new_session=True)
    {handler}
    print("going", flush=True)
    while True:
        {wait}
"""


def stop(driver: subprocess.Popen[str], *, seconds: float = 5.0) -> None:
    """Press Ctrl-C, and see that within ``seconds`` nothing is left."""
    below = psutil.Process(driver.pid).children(recursive=True)
    began = time.monotonic()
    driver.send_signal(signal.SIGINT)
    printed, said = driver.communicate(timeout=60)
    spent = time.monotonic() - began
    assert driver.returncode == 130, said
    assert printed in (None, "", "last\n")
    assert said.endswith(SAID)
    assert said.count(SAID) == 1
    assert "Traceback" not in said
    _, left = psutil.wait_procs([process for process in below if process.is_running()], timeout=seconds)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    assert spent < 60


@pytest.mark.parametrize(
    ("handler", "wait"),
    [
        ("", "time.sleep(1000)"),
        ("signal.signal(signal.SIGINT, lambda *_: None)  # as Ray Train's", "time.sleep(1000)"),
        (
            'last = type("", (), {"__del__": lambda _: time.sleep(1000)})()',
            "last = 0; time.sleep(1000)  # raises nothing",
        ),
        ("import threading", "threading.Thread(target=time.sleep, args=(1000,)).start() or time.sleep(1000)"),
    ],
)
def test_whatever_a_command_waits_for(handler: str, wait: str) -> None:
    code = STUBBORN.format(handler=handler, wait=wait)
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "going\n"
    stop(driver)


def test_when_nobody_listens_any_more() -> None:
    code = STUBBORN.format(handler="signal.signal(signal.SIGINT, lambda *_: None)", wait="time.sleep(1000)")
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert driver.stdout is not None
    assert driver.stderr is not None
    assert driver.stdout.readline() == "going\n"
    below = psutil.Process(driver.pid).children(recursive=True)
    driver.stdout.close()
    driver.stderr.close()
    driver.send_signal(signal.SIGINT)
    assert driver.wait(60) == 130
    assert below
    assert not psutil.wait_procs(below, timeout=5)[1]


def test_the_second_ctrl_c_waits_for_nothing() -> None:
    code = STUBBORN.format(handler="signal.signal(signal.SIGINT, lambda *_: None)", wait="time.sleep(1000)")
    code = "import raycv.stopping; raycv.stopping.GRACE = 1e4" + code
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "going\n"
    driver.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two signals at once are one
    stop(driver)


def test_while_python_imports_raycv() -> None:
    """When the first module beside the package has been found, the second it takes has hardly begun."""
    command = [sys.executable, "-v", "-m", "raycv", "--help"]
    driver = subprocess.Popen(command, stdout=-1, stderr=-1, text=True, bufsize=1)
    assert driver.stderr is not None
    while "import 'raycv.errors'" not in driver.stderr.readline():
        assert driver.poll() is None
    stop(driver)


TINY = ("--seeds", "1,2", "--width", "6", "--epochs", "300", "--shard-size", "2")


def wait_for(what: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    while not what():
        assert driver.poll() is None
        time.sleep(0.05)


def started(*command: str) -> subprocess.Popen[str]:
    """A command with a cluster of its own, of which nothing may be left."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    words = [sys.executable, "-m", "raycv", *command]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=-1, text=True, env=environment)


def has_below(driver: subprocess.Popen[str], title: bytes) -> bool:
    """Whether the command has started a process of this title; any, if it is empty."""
    below = {process.pid for process in psutil.Process(driver.pid).children(recursive=True)}
    return bool(below.intersection(processes(title)))


@pytest.mark.slow
@pytest.mark.parametrize("title", [b"", b"ray::RayTrainWorker"], ids=["while Ray starts", "training"])
def test_a_run_is_stopped(title: bytes, images: Path, tmp_path: Path) -> None:
    driver = started("run", "--run", str(tmp_path / "run"), "--data", str(images), *TINY)
    try:
        wait_for(lambda: has_below(driver, title), driver)
        stop(driver)
    finally:
        driver.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "title"),
    [
        ("collect --shard-size 1", b"ray::ShardActor"),
        ("sweep mapping", b"ray::ImplicitFunc"),
        ("sweep clusters --k 3,4", b"ray::ImplicitFunc"),
    ],
)
def test_a_stage_is_stopped_and_goes_on(command: str, title: bytes, images: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for number in (1, 2, 3):
        checkpoints.save(RunStore(str(run)), spec(number, 4), build(spec(number, 4)).state_dict())
    words = [*command.split(), "--run", str(run), *(("--data", str(images)) if "collect" in command else ())]
    driver = started(*words)
    try:
        wait_for(lambda: has_below(driver, title), driver)
        stop(driver)
        stage = " ".join(words[: words.index("--run")]).split(" --")[0]
        assert stage not in record.read(RunStore(str(run)))["stages"]
        driver = started(*words)
        assert driver.wait() == 0
        assert stage in record.read(RunStore(str(run)))["stages"]
    finally:
        driver.kill()
