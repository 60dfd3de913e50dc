"""A whole run in Google's and in Azure's object store: written, killed on the way, gone on with, and read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

import raycv
from raycv.errors import UserError
from raycv.run import record
from raycv.run.store import RunStore
from tests.support.azure_server import CONTAINER
from tests.support.google_server import GOOGLE_BUCKET

PLACES = {"gs": ("google_server", GOOGLE_BUCKET), "az": ("azure_server", CONTAINER)}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scheme", PLACES)
def test_a_run_is_written_killed_and_gone_on_with(
    scheme: str, images: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server, bucket = PLACES[scheme]
    running = request.getfixturevalue(server)
    store = RunStore(f"{scheme}://{bucket}/{uuid.uuid4().hex}")
    settings = ["--seeds", "1,2", "--epochs", "1", "--width", "6", "--data", str(images)]
    command = [sys.executable, "-m", "raycv", "run", "--run", store.uri, *settings]
    environment = {**os.environ, **running.environment, "RAY_TMPDIR": f"/tmp/rt-{uuid.uuid4().hex[:6]}"}
    with (tmp_path / "first.log").open("wb") as log:
        first = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 900
    while "train" not in record.read(store)["stages"]:
        assert first.poll() is None, (tmp_path / "first.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode in (0, 3), done.stdout + done.stderr  # one epoch may fail the health check
    assert "train: already finished" in done.stdout
    run = raycv.open_run(store.uri)
    assert len(run.table("alignment", layer="conv1"))
    assert run.correlation("conv1", "net1", "net2").shape == (6, 6)
    assert not any(path.startswith("leases/") for path in store.list(""))
    with pytest.raises(UserError, match="is not inside the run"):
        store.read("../x")
