"""The main job as an engineer submits it: a running head, `ray job submit`, images and results on S3."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from raycv.run.store import RunStore
from tests.support.heads import RAY, running_head
from tests.support.s3_server import BUCKET, KEY, SECRET, S3Server

ROOT = Path(__file__).parent.parent
LOGS = Path(f"/tmp/ray-{uuid.uuid4().hex[:8]}")  # Ray's own files; its sockets want a short path


@pytest.fixture(scope="module")
def head(s3_server: S3Server) -> Iterator[dict[str, str]]:
    """A head with a token; yields the environment in which `ray job submit` reaches it."""
    with running_head(RAY, LOGS) as environment:
        yield environment


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
    files = {path: store.read(path) for path in store.list("")}
    files |= {str(path): path.read_bytes() for path in LOGS.rglob("*") if path.is_file()}
    assert any(path.endswith("runtime_env_agent.log") for path in files)
    for marker in (KEY, SECRET, head["RAY_AUTH_TOKEN"]):  # which all processes have in their environment
        assert marker not in said
        assert not [path for path, content in files.items() if marker.encode() in content]


def test_a_mistake_is_one_sentence_in_the_jobs_log(head: dict[str, str]) -> None:
    done = submit(head, "jobs/run.py", "--run", f"s3://{BUCKET}/never", "--epochs", "none")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "raycv: --epochs was given 'none'" in said
    assert "Traceback" not in said
