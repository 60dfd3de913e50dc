"""Jobs on nodes started by hand: a head without processors, as KubeRay's samples have it, and workers.

With a token, and runs on S3.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from raycv import statistics
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.run import tables
from raycv.run.store import RunStore
from tests.support.heads import RAY, joining_node, ray_alone, running_head
from tests.support.left import contents, same
from tests.support.runs import make_run, spec
from tests.support.s3_server import BUCKET, S3Server

ROOT = Path(__file__).parent.parent
SECOND, THIRD, FOURTH = "127.0.0.2", "127.0.0.3", "127.0.0.4"  # addresses: the head has that of this machine
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
        self.wait_until(lambda: text in self.said)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Until something holds, which it does before its end."""
        while not holds():
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


@pytest.fixture(scope="module")
def stored_images(head: dict[str, str], images: Path) -> str:
    source = RunStore(f"s3://{BUCKET}/images-{uuid.uuid4().hex[:8]}")
    for file in images.iterdir():
        source.write(file.name, file.read_bytes())
    return source.uri


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


def test_two_jobs_at_once_each_on_a_run_of_its_own_and_a_third_on_one_of_these(
    head: dict[str, str], worker: str, stored_images: str
) -> None:
    """Training wants all processors at once, the pass as many as there are: each waits for the other's stages."""
    runs = [RunStore(f"s3://{BUCKET}/run-{uuid.uuid4().hex[:8]}") for _ in range(3)]
    flags = ["--data", stored_images, "--seeds", "1,2", "--width", "6", "--epochs", "1", "--decays", "0"]
    flags += ["--layers", "conv1,fc7", "--shard-size", "40"]
    jobs = [Job(head, "jobs/run.py", "--run", run.uri, *flags) for run in runs[:2]]
    jobs[0].wait_for("train: starting 2 networks")
    third = Job(head, "jobs/run.py", "--run", runs[0].uri, *flags)
    assert third.end() != 0
    assert jobs[0].process.poll() is None  # long before that has ended
    assert "train of" in third.said
    assert "is being done by process" in third.said
    assert "wait for it with --wait." in third.said
    assert all(has_done_it(job) for job in jobs)
    undisturbed = Job(head, "jobs/run.py", "--run", runs[2].uri, *flags)
    assert has_done_it(undisturbed)
    *found, expected = (contents(run) for run in runs)
    for of_run in found:
        assert of_run.keys() == expected.keys()
        assert [path for path, content in of_run.items() if not same(path, content, expected[path])] == []


def has_done_it(job: Job) -> bool:
    """Whether a job ends as one does whose networks have seen too few images: they fail the health check, or nearly."""
    return (job.end() == 0) != ("the health check failed" in job.said)


def test_training_that_loses_a_node_says_what_it_waits_for_and_goes_on_when_one_joins(
    head: dict[str, str], stored_images: str, run: RunStore
) -> None:
    flags = ["--data", stored_images, "--seeds", "1,2", "--width", "6", "--epochs", "15"]
    with joining_node(RAY, head, 1, SECOND):
        with joining_node(RAY, head, 1, THIRD):
            job = Job(head, "jobs/train.py", "--run", run.uri, *flags)
            job.wait_for("epoch 1 of 15")
        job.wait_for("waiting for 1 CPU: the cluster has 1 CPU of which 0 are free, and no autoscaler; this command")
        with joining_node(RAY, head, 1, FOURTH):
            assert job.end() == 0, job.said
    trained = tables.read(run, "training")
    assert trained.groupby("net")["epoch"].apply(list).tolist() == [[*range(1, 16)]] * 2


def actors_on(address: str) -> list[psutil.Process]:
    """The processes of a node that hold an actor of the pass."""
    of_node, titled = f"--node_ip_address={address}", psutil.process_iter(["cmdline"])
    found = [one for one in titled if "".join(one.info["cmdline"] or ()).startswith("ray::ShardActor")]
    return [one for one in found if of_node in one.parents()[0].cmdline()]


def test_a_node_joins_a_pass_and_leaves_it_again(
    head: dict[str, str], worker: str, stored_images: str, run: RunStore
) -> None:
    """The others stand still meanwhile: it is at work, and what it leaves undone is done by them."""
    for number in (1, 2):
        described = spec(number, 6, ("conv1", "fc8"))
        checkpoints.save(run, described, build(described).state_dict())
    job = Job(head, "jobs/collect.py", "--run", run.uri, "--data", stored_images, "--shard-size", "1")
    job.wait_until(lambda: partials(run) > 0)
    stopped = actors_on(SECOND)
    assert stopped
    for process in stopped:
        process.suspend()
    time.sleep(2)  # for what they have in hand to arrive
    before = partials(run)
    with joining_node(RAY, head, 1, THIRD):
        job.wait_until(lambda: partials(run) > before + 20)
    for process in stopped:
        process.resume()
    assert job.end() == 0, job.said
    assert statistics.read(run).is_complete()


def partials(run: RunStore) -> int:
    """How many shards are done."""
    return len([path for path in run.list("statistics") if "/partials/shard-" in path])


def test_the_mapping_sweep_from_an_environment_with_ray_alone(
    head: dict[str, str], worker: str, run: RunStore, tmp_path: Path
) -> None:
    copied(RunStore(str(make_run(tmp_path / "run"))), run)
    flags = ["--run", run.uri, "--decays", "0,1e-3"]
    job = Job(head, "jobs/sweep_mapping.py", *flags, ray=ray_alone(tmp_path / "bare"))
    assert job.end() == 0, job.said
    assert set(tables.read(run, "mappings")["layer"]) == {"conv1", "conv2"}
