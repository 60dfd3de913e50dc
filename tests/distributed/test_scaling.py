"""A cluster that grows while work waits and shrinks while it is done, by Ray's own simulated autoscaler."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.scaling import scaling_cluster

ROOT = Path(__file__).parents[2]
# On a cluster without a GPU whose autoscaler starts two nodes at most, one GPU each.
WORK = """
import logging, os, signal, time
import ray
from raycv.devices import Processors
from raycv.distributed import gathering, ray_cluster
from raycv.distributed.pool import Pool
from raycv.memory import Need

@ray.remote(num_cpus=0, num_gpus=1, max_restarts=-1, max_task_retries=0)
class Actor:
    def ready(self):
        return "a GPU"
    def work(self, item):
        if item == 0 and not os.path.exists(gone):
            open(gone, "w").close()
            os.kill(os.getppid(), signal.SIGKILL)  # the node goes
        time.sleep(0.5)
        return ray.get_runtime_context().get_node_id()

gone = os.environ["GONE"]
ray.init(log_to_driver=False, logging_level=logging.ERROR)
gathering.SETTLED = 15.0
gpus = ray_cluster.gpus(Processors("gpu"))
print("there", gpus.there, "share", gpus.share(4))
came = gathering.gathered("train", gpus, 4)
print("came", came.there, "share", came.share(4), came.for_training(4, 1))
places = ray_cluster.Places("collect", Need.of(0, "nothing"), 60, 4, ray_cluster.gpus(Processors("gpu")))
pool, nodes, sizes = Pool(Actor.remote, places.checked()), {}, set()
def done(item, node):
    nodes[item] = node
    sizes.add(len(pool))
pool.run([*range(1, 60), 0], lambda actor, item: actor.work.remote(item), done)
pool.close()
print("done", len(nodes), "on", min(len(set(nodes.values())), 2), "sizes", max(sizes), "device", pool.device)
"""


@pytest.mark.slow
def test_a_cold_cluster_grows_and_loses_a_node(tmp_path: Path) -> None:
    files = Path(f"/tmp/ray-{uuid.uuid4().hex[:8]}")  # its sockets want a short path
    with scaling_cluster(2, files) as environment:
        given = environment | {"GONE": str(tmp_path / "gone"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", WORK]
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout + done.stderr
    assert "train: asks for 4 GPUs, 0 of which are there; the autoscaler starts nodes for the rest" in said
    assert "there 0.0 share 1.0" in said  # a GPU for each network is asked for
    assert "came 2 share 0.5 4 networks on 2 GPUs, up to 2 workers on each GPU" in said  # all that there are
    assert "collect: asks for 4 GPUs, 2 of which are there" in said
    assert "done 60 on 2 sizes 2 device a GPU" in said
    assert (tmp_path / "gone").exists()
