"""A Ray cluster of two nodes, one processor and 100 MB of object store each, of which one can be lost or drained."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HOST = """
import sys, time
import psutil
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

each = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


def patiently(start):
    for _ in range(9):  # a node whose agent has not come up after 15 s ends itself, as on a busy machine
        before = psutil.Process().children(recursive=True)
        try:
            return start()
        except Exception as error:
            print(error, file=sys.stderr, flush=True)
            for process in {*psutil.Process().children(recursive=True)}.difference(before):
                process.kill()
    return start()


def another_node():
    # With an address of its own: a driver of this machine joins by its own address, and must not go with this node.
    return patiently(lambda: cluster.add_node(**each, node_ip_address="127.0.0.2"))


head = {**each, "include_dashboard": "dashboard" in sys.argv}
cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
second = another_node()
print(cluster.address, flush=True)
for line in sys.stdin:
    word, *seconds = line.split()
    if word == "drain":
        left = float(seconds[0])
        print(*GcsClient(cluster.address).drain_node(
            second.node_id, DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION, "spot", int((time.time() + left) * 1000)
        ), flush=True)
        time.sleep(left)
    cluster.remove_node(second, allow_graceful=False)
    second = another_node()
    print("lost and replaced", flush=True)
"""


@dataclass
class TwoNodes:
    """The cluster, and the environment in which a driver joins it."""

    process: subprocess.Popen[str]
    environment: dict[str, str]

    def lose(self) -> None:
        """kill -9 of the second node; a new one comes in its place."""
        self._ask("lose")
        self._answer("lost and replaced")

    def drain(self, seconds: float) -> None:
        """Give notice that the second node goes, and let it go after ``seconds``; a new one comes in its place."""
        self._ask(f"drain {seconds}")
        self._answer("True")
        self._answer("lost and replaced")

    def _ask(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _answer(self, expected: str) -> str:
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        assert said.startswith(expected), said
        return said


@contextlib.contextmanager
def two_nodes(given: Mapping[str, str], *, dashboard: bool = False) -> Iterator[TwoNodes]:
    """The cluster, whose workers have ``given`` in their environment; with Ray's ``dashboard`` or without."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    # Ray makes workers give way to every other process, and on a busy machine they would hardly come to their turn.
    environment |= token | {"RAY_worker_niceness": "0"} | dict(given)
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, *(["dashboard"] if dashboard else [])],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address, "the cluster did not start"
    try:
        yield TwoNodes(process, environment | {"RAY_ADDRESS": address})
    finally:
        assert process.stdin is not None
        process.stdin.close()  # which ends it, and it its nodes
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
