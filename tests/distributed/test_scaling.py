"""A cluster that grows while work waits and shrinks while it is done, by both versions of Ray's own autoscaler.

Its nodes are processes of this machine, and their GPUs a word of Ray's: what is done on them needs none.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from raycv.run import tables
from raycv.run.store import RunStore
from tests.support import pretended_gpus
from tests.support.scaling import Scaling, Version, scaling_cluster

VERSIONS: tuple[Version, ...] = ("v1", "v2")

TRAINING = """
import logging, os, threading, time
import ray
from raycv.devices import Processors
from raycv.distributed import gathering, ray_cluster, unpublished_ray

@ray.remote(num_cpus=0, num_gpus=1)
def on_a_gpu():
    pass

ray.init(log_to_driver=False, logging_level=logging.ERROR)
cold = ray_cluster.gpus(Processors("gpu"))
print("cold:", cold.there, "there, a share of", cold.share(4), flush=True)
ray.get(on_a_gpu.remote())  # an earlier job, whose node stays
alive = ray_cluster.gpus(Processors("gpu"))
print("alive:", alive.there, "there, a share of", alive.share(4), flush=True)

def let_in():
    while not unpublished_ray.is_starting_nodes():  # it is asked for
        time.sleep(1)
    open(os.environ["GATE"], "w").close()

threading.Thread(target=let_in, daemon=True).start()
came = gathering.gathered("train", alive, 4)
print("came:", came.there, "there, a share of", came.share(4), flush=True)
print(came.for_training(4, 1), flush=True)
"""

PASS = """
import logging, os, signal, time
from pathlib import Path
import ray
from raycv.devices import Processors
from raycv.distributed import ray_cluster
from raycv.distributed.pool import Pool
from raycv.memory import Need

came = Path(os.environ["CAME"])  # a file for each node on which work has begun
gate = Path(os.environ["GATE"])
LOST, ITEMS = 20, 60

@ray.remote(num_cpus=0, num_gpus=1, max_restarts=-1, max_task_retries=0)
class Actor:
    def ready(self):
        return "a GPU"

    def work(self, item):
        node = ray.get_runtime_context().get_node_id()
        (came / node).touch()
        if item == LOST and not (came.parent / "lost").exists():
            (came.parent / "lost").touch()
            os.kill(os.getppid(), signal.SIGKILL)  # the node goes, as a spot node does
        wanted = 1 if item == 0 else 2 if item < LOST else 3
        while len(list(came.iterdir())) < wanted:
            time.sleep(0.2)
        return node

ray.init(log_to_driver=False, logging_level=logging.ERROR)
gpus = ray_cluster.gpus(Processors("gpu"))
pool = Pool(Actor.remote, ray_cluster.Places("collect", Need.of(0, "nothing"), ITEMS, 2, gpus).checked())
nodes, sizes = {}, []

def done(item, node):
    gate.touch()  # the first piece of work is done before the second node comes
    nodes[item] = node
    sizes.append(len(pool))

pool.run(range(ITEMS), lambda actor, item: actor.work.remote(item), done)
pool.close()
print("done:", len(nodes), "on", len(set(nodes.values())), "nodes; at first with", sizes[0], "then with", max(sizes))
"""


@pytest.fixture
def files() -> Path:
    return Path(f"/tmp/ray-{uuid.uuid4().hex[:8]}")  # its sockets want a short path


def said_by(script: str, cluster: Scaling, **given: str) -> list[str]:
    environment = cluster.environment | {"GATE": str(cluster.gate)} | given
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_training_waits_for_nodes_on_their_way_and_shares_what_has_come(version: Version, files: Path) -> None:
    """One node is alive, the second comes late, and the two that are wanted beyond them never."""
    with scaling_cluster(2, files, version) as cluster:
        said = said_by(TRAINING, cluster)
    assert "cold: 0.0 there, a share of 1.0" in said
    assert "alive: 1.0 there, a share of 1.0" in said
    (asks,) = [line for line in said if "asks for" in line]
    assert asks.startswith("train: asks for 4 GPUs, 1 of which is there; the autoscaler starts nodes for the rest")
    assert "came: 2 there, a share of 0.5" in said
    assert "4 networks on 2 GPUs, up to 2 workers on each GPU" in said


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_pass_begins_with_the_first_node_and_outlives_one(version: Version, files: Path, tmp_path: Path) -> None:
    """From a cold start: the first node works alone, a second joins it, one goes, and another comes in its place."""
    (tmp_path / "came").mkdir()
    with scaling_cluster(2, files, version) as cluster:
        said = said_by(PASS, cluster, CAME=str(tmp_path / "came"))
    (asks,) = [line for line in said if "asks for" in line]
    assert asks.startswith("collect: asks for 2 GPUs, 0 of which are there; the autoscaler starts nodes for the rest")
    assert (tmp_path / "lost").exists()
    assert said[-1] == "done: 60 on 3 nodes; at first with 1 then with 2"


@pytest.mark.slow
def test_networks_train_on_fewer_gpus_than_were_asked_for(files: Path, images: Path, tmp_path: Path) -> None:
    """From a cold start, on KubeRay's version of the autoscaler, which never brings the third."""
    run = RunStore(str(tmp_path / "run"))
    flags = ["--run", run.uri, "--data", str(images), "--seeds", "1,2,3", "--width", "4", "--epochs", "1"]
    with scaling_cluster(2, files, "v2") as cluster:
        cluster.gate.touch()
        given = cluster.environment | pretended_gpus.ENVIRONMENT
        command = [sys.executable, "-m", "raycv", "train", *flags, "--device", "gpu"]
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    (asks,) = [line for line in said if "asks for" in line]
    assert asks.startswith("train: asks for 3 GPUs, 0 of which are there; the autoscaler starts nodes for the rest")
    assert "train: 3 networks on 2 GPUs, up to 2 workers on each GPU" in said
    assert set(tables.read(run, "training")["net"]) == {"net1", "net2", "net3"}
