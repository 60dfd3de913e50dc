"""`ray start --head` with a token, as an engineer starts it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
PATIENCE = 600  # seconds: on a busy machine, what Ray gives its own processes is little
PATIENT = {
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(PATIENCE),
    "RAY_agent_register_timeout_ms": str(1000 * PATIENCE),
    "RAY_worker_register_timeout_seconds": str(PATIENCE),
}


def ray_alone(home: Path) -> Path:
    """Make an environment that has nothing but Ray; returns its command ``ray``."""
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    wanted = ["--constraint", str(ROOT / "constraints.txt"), "ray[default]"]
    subprocess.run([home / "bin" / "pip", "install", "--quiet", *wanted], check=True, cwd="/")
    alone = subprocess.run([home / "bin" / "python", "-I", "-c", "import raycv"], cwd="/", capture_output=True)
    assert b"No module named 'raycv'" in alone.stderr
    return home / "bin" / "ray"


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
        **PATIENT,
    }
    command = ["start", "--head", "--block", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    command += [f"--temp-dir={files}", f"--ray-client-server-port={free_port()}", *_ports_of_agents(), *flags]
    clients = {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}", "RAY_ADDRESS": f"127.0.0.1:{gcs}"}

    def takes_jobs(said: bytes) -> bool:
        with contextlib.suppress(OSError):
            _ask(environment | clients, "/api/version")
            return b"Ray runtime started" in said  # on a busy machine it answers before
        return False

    with _node([str(ray), *command], environment | dict(given or {}), files, takes_jobs):
        yield environment | clients


@contextlib.contextmanager
def joining_node(ray: Path, environment: Mapping[str, str], cpus: int, address: str) -> Iterator[str]:
    """A node of so many ``cpus`` that joins a running head, by the command ``ray``; it leaves with the context.

    It has an ``address`` and files of its own: a driver of this machine must not take it for its own node, nor may it
    clear away the working directories of jobs, as a node does with those that it finds. Yields its number.
    """
    files = Path(f"/tmp/ray-{secrets.token_hex(4)}")  # its sockets want a short path
    command = ["start", "--block", f"--address={environment['RAY_ADDRESS']}", f"--num-cpus={cpus}"]
    command += [f"--node-ip-address={address}", f"--temp-dir={files}", *_ports_of_agents()]
    given = {key: value for key, value in environment.items() if key not in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    there: list[str] = []

    def has_joined(_said: bytes) -> bool:
        nodes = state(environment, "nodes")
        there[:] = [one["node_id"] for one in nodes if (one["node_ip"], one["state"]) == (address, "ALIVE")]
        return bool(there)

    with _node([str(ray), *command], given, files, has_joined):
        yield there[0]


@contextlib.contextmanager
def _node(
    command: list[str], environment: Mapping[str, str], files: Path, is_up: Callable[[bytes], bool]
) -> Iterator[None]:
    """A node that a command starts; ``is_up`` is told what the command has said. Its ``files`` go with it.

    Started again where the command has ended: it waits half a minute for Ray's processes, which on a busy machine is
    little.
    """
    files.mkdir()
    log, deadline = files / "start.log", time.monotonic() + PATIENCE

    def start() -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            return subprocess.Popen(
                command, env=dict(environment), stdout=out, stderr=out, start_new_session=True, cwd="/"
            )

    process = start()
    try:
        while not is_up(log.read_bytes()):
            assert time.monotonic() < deadline, log.read_text()
            if process.poll() is not None:
                _end(process)
                process = start()
            time.sleep(0.5)
        yield
    finally:
        _end(process)
        shutil.rmtree(files, ignore_errors=True)  # what is left of its processes may still write


def state(environment: Mapping[str, str], of: str) -> list[dict[str, Any]]:
    """What a head says of its nodes, actors or jobs, as `ray list` asks it."""
    found: list[dict[str, Any]] = json.loads(_ask(environment, f"/api/v0/{of}?limit=1000"))["data"]["result"]["result"]
    return found


def _ask(environment: Mapping[str, str], path: str) -> bytes:
    given = {"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"}
    request = urllib.request.Request(environment["RAY_API_SERVER_ADDRESS"] + path, headers=given)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
    return content


def _ports_of_agents() -> list[str]:
    """The agent that starts jobs must not meet that of another node on this machine."""
    names = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port")
    return [f"--{name}={free_port()}" for name in names]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a node as `ray stop` does, and what is left of it."""
    with contextlib.suppress(ProcessLookupError):  # where all have ended
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
