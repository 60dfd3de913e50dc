"""What a command says while it waits for resources, and what it refuses to wait for."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from raycv.distributed import unpublished_ray, waiting
from raycv.distributed.pool import Pool
from raycv.distributed.tasks import in_order
from raycv.distributed.tuning import Trial, run_trials
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.run.store import RunStore
from raycv.run.trial_results import TrialResults
from tests.support.commands import failing
from tests.support.heads import RAY, running_head
from tests.support.runs import spec
from tests.support.scaling import scaling

NO_GPU = "waiting for 1 GPU: the cluster has no GPU, and no autoscaler"


class Heard(Exception):
    """What was said, raised so that nobody waits any longer."""


def hear(sentence: str) -> None:
    raise Heard(sentence)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, ray_cluster: None) -> None:
    monkeypatch.setattr(waiting, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(waiting, "say", hear)


@ray.remote(num_cpus=0, num_gpus=1)
class OnGpu:
    """Nothing in this cluster can hold it."""

    def ready(self) -> None: ...


def test_a_pool_says_what_its_actors_lack(impatient: None) -> None:
    pool = Pool(OnGpu.remote, lambda: 1)  # type: ignore[attr-defined]
    with pytest.raises(Heard, match=NO_GPU):
        pool.run([1], lambda actor, _item: actor.ready.remote(), lambda _item, _result: None)
    pool.close()


def test_a_sweep_says_what_its_trials_lack(impatient: None, tmp_path: Path) -> None:
    results = TrialResults(RunStore(str(tmp_path / "run")), "sweeps/made")
    asked: list[Trial[int]] = [Trial("conv1/1", "data", 1, gpus=1)]
    with pytest.raises(
        Heard, match="waiting for 1 CPU and 1 GPU: the cluster has 2 CPUs of which 2 are free, no GPU, "
    ):
        run_trials(results, "sweep", max, asked, lambda _data: 7)


def test_who_works_or_starts_is_not_waiting(impatient: None) -> None:
    for _ in range(60):  # Ray forgets a moment later what actors of earlier tests have asked for
        if not waiting.missing():
            break
        time.sleep(1)
    watch = waiting.Waiting()
    watch._since -= 100
    watch.look(going_on=True)
    watch._since -= 100
    watch.look(going_on=False)  # nothing is missing


OTHER = """
import logging, sys
import ray
ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)

@ray.remote(num_cpus=1)
class Actor:
    def ready(self):
        pass

actor, group = Actor.remote(), ray.util.placement_group([{"CPU": 1}])
ray.get([actor.ready.remote(), group.ready()])
wanted = ray.util.placement_group([{"CPU": 2}])
print("has both", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_job() -> Iterator[int]:
    """A driver that has all CPUs, one for an actor and one for a placement group, and waits for two more."""
    command = [sys.executable, "-c", OTHER, ray.get_runtime_context().gcs_address]
    with subprocess.Popen(command, env=os.environ, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "has both\n"
        while not unpublished_ray.demands():
            time.sleep(0.5)
        yield process.pid
        process.stdin.close()


@ray.remote(num_cpus=1)
class OnCpu:
    def ready(self) -> str:
        return "CPU"


def add(one: int, other: int) -> int:
    return one + other


def test_another_job_that_has_what_is_waited_for_is_named_and_what_it_waits_for_is_not(impatient: None) -> None:
    with another_job() as process:
        assert not waiting.missing()
        has = f"2 CPUs of which 0 are free, and no autoscaler; process {process} on [0-9.]+ has 2 CPUs$"
        pool = Pool(OnCpu.remote, lambda: 1)  # type: ignore[attr-defined]
        with pytest.raises(Heard, match=f"^waiting for 1 CPU: the cluster has {has}"):
            pool.run([1], lambda actor, _item: actor.ready.remote(), lambda _item, _result: None)
        pool.close()
        with pytest.raises(Heard, match=f"^waiting for 1 CPU: the cluster has {has}"):
            list(in_order(add, 1, [2], needed=1))
    assert list(in_order(add, 1, [2], needed=1)) == [3]


@pytest.mark.parametrize("stage", ["train", "collect"])
def test_a_gpu_that_nobody_can_bring_is_not_waited_for(
    stage: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_cluster: None
) -> None:
    run = tmp_path / "run"
    for number in (1, 2) if stage == "collect" else ():
        checkpoints.save(RunStore(str(run)), spec(number, 6), build(spec(number, 6)).state_dict())
    before = sorted(run.rglob("*"))
    said = failing(capsys, stage, "--run", str(run), "--data", str(images), "--device", "gpu")
    assert said.startswith("raycv: --device gpu needs a GPU, and the cluster has none and no autoscaler")
    assert sorted(run.rglob("*")) == before


# -- telling clusters with an autoscaler from those without ------------------------------------------------------------

V2 = {"RAY_enable_autoscaler_v2": "1"}
AS_KUBERAY = {"RAY_NODE_TYPE_NAME": "headgroup", "RAY_CLOUD_INSTANCE_ID": "raycluster-head"}
AS_RAY_UP = V2 | {"RAY_NODE_TYPE_NAME": "head", "RAY_CLOUD_INSTANCE_ID": "i-1"}
LOOK = """
import logging, ray
from raycv.distributed.waiting import has_autoscaler
ray.init(log_to_driver=False, logging_level=logging.ERROR)
print("has one" if has_autoscaler() else "has none")
"""


@pytest.fixture
def files() -> Path:
    return Path(f"/tmp/ray-{uuid.uuid4().hex[:8]}")  # its sockets want a short path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scaled", "given", "found"),
    [
        (False, {}, "has none"),
        (False, V2, "has none"),
        (False, AS_KUBERAY, "has none"),
        (False, AS_RAY_UP, "has one"),
        (True, {"RAY_FAKE_CLUSTER": "1"}, "has one"),
    ],
    ids=["by hand", "by hand, v2", "KubeRay without an autoscaler", "ray up, v2", "ray up, v1"],
)
def test_clusters_with_an_autoscaler_are_known(
    scaled: bool, given: dict[str, str], found: str, files: Path, tmp_path: Path
) -> None:
    config = tmp_path / "cluster.json"
    config.write_text(json.dumps(scaling(2)))
    flags = [f"--autoscaling-config={config}"] if scaled else []
    with running_head(RAY, files, *flags, given=given) as environment:
        done = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == found
