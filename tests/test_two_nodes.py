"""Jobs on nodes started by hand: a head without processors, as KubeRay's samples have it, and workers.

With a token, and runs on S3.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from raycv.run import tables
from raycv.run.store import RunStore
from tests.support.heads import RAY, joining_node, ray_alone, running_head
from tests.support.runs import make_run
from tests.support.s3_server import BUCKET, S3Server

ROOT = Path(__file__).parent.parent
SECOND = "127.0.0.2"  # an address: the head has that of this machine
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


class Job:
    """What `ray job submit` starts: its lines as they come, and how it ends."""

    def __init__(self, environment: Mapping[str, str], *entry: str, ray: Path = RAY) -> None:
        command = [str(ray), "job", "submit", "--working-dir", ".", "--", sys.executable, *entry]
        self.process = subprocess.Popen(
            command, env=dict(environment), cwd=ROOT, stdout=-1, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> None:
        """Until it has said something."""
        while text not in self.said:
            assert self._reader.is_alive(), self.said
            time.sleep(0.2)

    def end(self) -> int:
        """How it has ended."""
        self._reader.join()
        return self.process.wait()


@pytest.fixture(scope="module")
def head(s3_server: S3Server) -> Iterator[dict[str, str]]:
    """A head without processors; yields the environment for clients and other nodes."""
    with running_head(RAY, Path(f"/tmp/ray-{uuid.uuid4().hex[:8]}"), "--num-cpus=0") as environment:
        yield environment


@pytest.fixture
def worker(head: dict[str, str]) -> Iterator[str]:
    with joining_node(RAY, head, 2, SECOND) as node:
        yield node


@pytest.fixture
def run() -> RunStore:
    return RunStore(f"s3://{BUCKET}/run-{uuid.uuid4().hex[:8]}")


def copied(run: RunStore, to: RunStore) -> None:
    for path in run.list(""):
        to.write(path, run.read(path))


def test_a_cluster_without_processors_says_so_until_a_node_joins(
    head: dict[str, str], run: RunStore, tmp_path: Path
) -> None:
    copied(RunStore(str(make_run(tmp_path / "run"))), run)
    job = Job(head, "jobs/sweep_clusters.py", "--run", run.uri)
    job.wait_for("the cluster has no CPU, and no autoscaler")
    with joining_node(RAY, head, 1, SECOND):
        assert job.end() == 0, job.said
    assert len(tables.read(run, "clusterings"))


def test_the_mapping_sweep_from_an_environment_with_ray_alone(
    head: dict[str, str], worker: str, run: RunStore, tmp_path: Path
) -> None:
    copied(RunStore(str(make_run(tmp_path / "run"))), run)
    flags = ["--run", run.uri, "--decays", "0,1e-3"]
    job = Job(head, "jobs/sweep_mapping.py", *flags, ray=ray_alone(tmp_path / "bare"))
    assert job.end() == 0, job.said
    assert set(tables.read(run, "mappings")["layer"]) == {"conv1", "conv2"}
