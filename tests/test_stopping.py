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

from tests.support.processes import processes

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
    assert printed in (None, "last\n")
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
        ("import threading", "threading.Thread(target=time.sleep, args=(1000,)).start() or time.sleep(1000)"),
    ],
)
def test_whatever_a_command_waits_for(handler: str, wait: str) -> None:
    code = STUBBORN.format(handler=handler, wait=wait)
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "going\n"
    stop(driver)


def test_the_second_ctrl_c_waits_for_nothing() -> None:
    code = STUBBORN.format(handler="signal.signal(signal.SIGINT, lambda *_: None)", wait="time.sleep(1000)")
    code = "import raycv.stopping; raycv.stopping.GRACE = 1e4" + code
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "going\n"
    driver.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two signals at once are one
    stop(driver)


TINY = ("--seeds", "1,2", "--width", "6", "--epochs", "300", "--shard-size", "2")


def wait_for(what: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    while not what():
        assert driver.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while Ray starts", "training"])
def test_a_run_is_stopped(moment: str, images: Path, tmp_path: Path) -> None:
    """With a cluster of its own, of which nothing may be left."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "raycv", "run", "--run", str(run), "--data", str(images), *TINY]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=-1, text=True, env=environment)

    def started() -> bool:
        below = {process.pid for process in psutil.Process(driver.pid).children(recursive=True)}
        if moment == "while Ray starts":
            return bool(below)
        return bool(below.intersection(processes(b"ray::RayTrainWorker")))

    try:
        wait_for(started, driver)
        stop(driver)
    finally:
        driver.kill()
