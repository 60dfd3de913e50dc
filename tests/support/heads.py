"""`ray start --head` with a token, as an engineer starts it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

RAY = Path(sys.executable).parent / "ray"


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_head(
    ray: Path, files: Path, *flags: str, given: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[dict[str, str]]:
    """A head started by the command ``ray`` with more ``flags``, in an environment in which more is ``given``.

    It listens at ``port``, or at any. Its own files go to ``files``, which go with it: an environment that a job had
    made is 7 GB. Yields the environment for clients.
    """
    dashboard, gcs = free_port(), port or free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "PYTHONPATH": "",
    }
    command = ["start", "--head", "--block", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    command += [f"--temp-dir={files}", f"--ray-client-server-port={free_port()}"]
    # The agent that starts jobs must not meet that of another cluster on this machine.
    command += [f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}"]
    command += [f"--metrics-export-port={free_port()}"]
    command += flags
    files.mkdir()
    log = files / "head.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(ray), *command],
            env=environment | dict(given or {}),
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
        )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        _wait_for(address, environment["RAY_AUTH_TOKEN"], log)
        yield environment | {"RAY_API_SERVER_ADDRESS": address, "RAY_ADDRESS": f"127.0.0.1:{gcs}"}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(files, ignore_errors=True)  # what is left of its processes may still write


def _wait_for(address: str, token: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {token}"})
            if urllib.request.urlopen(request, timeout=5).status == 200:
                return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
