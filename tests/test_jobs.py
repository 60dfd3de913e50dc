"""The main job as an engineer submits it: a running head, `ray job submit`, images and results on S3."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from raycv.run.store import RunStore
from tests.support.s3_server import BUCKET, SECRET, S3Server

ROOT = Path(__file__).parent.parent
RAY = Path(sys.executable).parent / "ray"
LOGS = Path(f"/tmp/ray-{uuid.uuid4().hex[:8]}")  # Ray's own files; its sockets want a short path


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def head(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`ray start --head` with a token; yields the environment in which `ray job submit` reaches it."""
    dashboard = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "PYTHONPATH": "",
    }
    command = ["start", "--head", "--block", f"--port={free_port()}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    command += [f"--temp-dir={LOGS}", f"--ray-client-server-port={free_port()}"]
    # The agent that starts jobs must not meet that of another cluster on this machine.
    command += [f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}"]
    command += [f"--metrics-export-port={free_port()}"]
    log = tmp_path_factory.mktemp("head") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(RAY), *command], env=environment, stdout=out, stderr=out, start_new_session=True, cwd="/"
        )
    address = f"http://127.0.0.1:{dashboard}"
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(
                f"{address}/api/version", headers={"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"}
            )
            if urllib.request.urlopen(request, timeout=5).status == 200:
                break
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    yield environment | {"RAY_API_SERVER_ADDRESS": address}
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def submit(environment: dict[str, str], *entry: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(RAY), "job", "submit", "--working-dir", ".", "--", sys.executable, *entry],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.slow
def test_the_main_job_on_s3(head: dict[str, str], images: Path) -> None:
    """Streams its training images from S3, writes its results there, and pandas reads them."""
    data, run = (f"s3://{BUCKET}/{name}-{uuid.uuid4().hex[:8]}" for name in ("images", "run"))
    source = RunStore(data)
    for file in images.iterdir():
        source.write(file.name, file.read_bytes())
    flags = ["--seeds", "1,2", "--width", "6", "--epochs", "1", "--data", data]
    done = submit(head, "jobs/run.py", "--run", run, *flags)
    said = done.stdout + done.stderr
    # One epoch leaves networks that fail the health check, or nearly do.
    assert (done.returncode == 0) != ("the health check failed" in said), said
    assert "epoch 1 of 1: validation top-1" in said
    assert f"pandas.read_parquet('{run}/tables/alignment')" in said
    alignment = pd.read_parquet(f"{run}/tables/alignment")
    assert set(alignment["layer"]) == {"conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"}
    conv2 = pd.read_parquet(f"{run}/tables/correlations", filters=[("layer", "==", "conv2")])
    assert len(conv2) == 3 * 16**2
    store = RunStore(run)
    assert list(store.read_json("run.json")["stages"]) == [
        "train",
        "collect",
        "align",
        "sweep mapping",
        "sweep clusters",
        "patches",
        "figures",
        "report",
    ]
    assert any(path.endswith(".png") for path in store.list("figures"))
    assert not any("/partials/" in path or "networks/training/" in path for path in store.list(""))
    for path in store.list(""):
        assert SECRET.encode() not in store.read(path), path
    assert SECRET not in said
    logs = [path for path in LOGS.rglob("*") if path.is_file()]
    assert any(path.name == "runtime_env_agent.log" for path in logs)
    assert not [path for path in logs if SECRET.encode() in path.read_bytes()]


def test_a_mistake_is_one_sentence_in_the_jobs_log(head: dict[str, str]) -> None:
    done = submit(head, "jobs/run.py", "--run", f"s3://{BUCKET}/never", "--epochs", "none")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "raycv: --epochs was given 'none'" in said
    assert "Traceback" not in said
