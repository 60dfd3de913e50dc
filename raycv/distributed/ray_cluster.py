"""The Ray cluster: joining it, and how its processors are shared out."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import time
from dataclasses import dataclass, replace
from typing import Literal

import ray
from ray.exceptions import AuthenticationError, RayTaskError, RpcError

from raycv.devices import Processors
from raycv.distributed import gpu_nodes, unpublished_ray
from raycv.distributed.sizing import Gpus, cpus_of_each
from raycv.distributed.waiting import has_autoscaler
from raycv.errors import StageFailed, UserError
from raycv.memory import Need, check_nodes
from raycv.progress import doing, say

START_SECONDS = 10.0  # seconds in which a cluster that has been started must answer


Resource = Literal["CPU", "GPU"]
CPUS = Processors("cpu")


def connect(run: str, wanted: Processors = CPUS) -> None:
    """Join the cluster that RAY_ADDRESS or a running head names, or start one on this machine.

    Worker output stays in Ray's logs: what a person needs is printed by the driver. ``run`` is the run's URI. Raises
    UserError where GPUs are ``wanted`` and there is none and no autoscaler that could bring one, and where Ray counts
    GPUs that PyTorch cannot use, unless "auto" can do without them.
    """
    if not ray.is_initialized():
        _join(run)
    if wanted.device != "cpu" and amount("GPU"):
        gpu_nodes.look(wanted.device)
    if wanted.device == "gpu" and not amount("GPU") and not has_autoscaler():
        raise UserError(
            "--device gpu needs a GPU, and the cluster has none and no autoscaler that could bring one; use --device "
            "auto or cpu, or a cluster with GPUs."
        )


def _join(run: str) -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS", "")
    where = f"the Ray cluster at {address}" if address else "a Ray cluster"
    try:
        with doing("joining the Ray cluster" if address else "starting Ray"):
            _knock(address)
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, AuthenticationError) as error:
        raise UserError(f"Could not join {where}: {str(error).splitlines()[0]}") from None
    except Exception as error:
        # Of a node that does not come up in time Ray raises a TimeoutError, or an Exception of no class of its own.
        if type(error) not in (Exception, TimeoutError, RpcError):
            raise
        raise StageFailed(
            f"Ray did not start, and the same command tries again: {str(error).splitlines()[0]}"
        ) from error
    cpus, gpus = amount("CPU"), amount("GPU")
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    say(f"Ray {ray.__version__}: {nodes} node{'s' * (nodes != 1)}, {cpus:g} CPUs, {gpus:g} GPUs")
    if nodes > 1 and "://" not in run:
        say(f"note: {run} must be a folder that all {nodes} nodes share; name an s3:// prefix where there is none")


def _knock(address: str) -> None:
    """Raise ConnectionError where nothing answers at HOST:PORT: Ray would try for two minutes and fill the screen."""
    named = re.fullmatch(r"(?:ray://)?([^/:]+):(\d{1,5})", address)
    if not named:
        return  # an address that Ray finds itself, or refuses
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((named[1], int(named[2])), timeout=START_SECONDS).close()
            return
        except (OSError, OverflowError):
            if time.monotonic() > until:
                raise ConnectionError(
                    "nothing answers there; start it with `ray start --head`, or unset RAY_ADDRESS to use this machine."
                ) from None
            time.sleep(0.5)


def users_mistake(error: BaseException) -> UserError | None:
    """The UserError that caused what Ray raised, if there is one."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, UserError) and not isinstance(link, RayTaskError):
            return UserError(str(link))
        link = getattr(link, "cause", None) or link.__cause__
    return None


def amount(resource: Resource) -> float:
    """How much of a resource the cluster has now, busy or not."""
    return float(ray.cluster_resources().get(resource, 0))  # type: ignore[no-untyped-call]


def of_nodes() -> list[dict[str, float]]:
    """What each node has of every resource, busy or not."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def that_compute() -> list[dict[str, float]]:
    """The same of the nodes with CPUs or GPUs, which a head need not have; of all where none has any yet."""
    nodes = of_nodes()
    return [node for node in nodes if node.get("CPU") or node.get("GPU")] or nodes


def check_memory(stage: str, need: Need) -> None:
    """Raise UserError where the processes of a stage need more memory than the nodes have, or one more than any has.

    An autoscaler may bring nodes that have more, so nothing is refused where there is one.
    """
    kinds = ("memory", "object_store_memory")  # Ray shares out between the two what it found free on a node
    try:
        check_nodes(stage, need, [int(sum(node.get(kind, 0) for kind in kinds)) for node in that_compute()])
    except UserError:
        if not has_autoscaler():
            raise


def gpus(wanted: Processors) -> Gpus | None:
    """The GPUs on which networks may run; None where they run on CPUs.

    With "auto" those that are there. Only "gpu" has an autoscaler start more: whoever pays for them asks for them.
    """
    there = amount("GPU") - gpu_nodes.unusable()
    if wanted.device == "cpu" or (wanted.device == "auto" and there <= 0):
        return None
    may_be = unpublished_ray.most_of("GPU") if wanted.device == "gpu" and has_autoscaler() else 0.0
    if not there and not may_be:
        raise UserError(
            "--device gpu needs a GPU, and no type of node of this cluster has one; use --device auto or cpu."
        )
    return Gpus(there, may_be, wanted.gpus or math.inf)


def computes_on_gpus(wanted: Processors) -> bool:
    """Whether what needs float64 is computed on GPUs."""
    return gpus(wanted) is not None and gpu_nodes.have_float64()


def _room(need: Need, resource: Resource) -> int:
    return sum(int(node.get("memory", 0) // need.bytes) for node in of_nodes() if node.get(resource))


@dataclass(frozen=True)
class Places:
    """How many actors a stage has work for, and room; asked again as nodes come and go.

    ``pieces`` of work on ``networks``; ``count``: how many actors the user sets, if any.
    """

    stage: str
    need: Need
    pieces: int
    networks: int
    gpus: Gpus | None
    count: int | None = None

    def __call__(self) -> int:
        return min(self.pieces, max(1, self._wanted()))

    def _wanted(self) -> int:
        if self.count:
            return int(min(self.count, self.gpus.most if self.gpus else math.inf))
        if self.gpus is None:
            return min(int(amount("CPU")), _room(self.need, "CPU"))
        there = amount("GPU") - gpu_nodes.unusable()
        wanted = replace(self.gpus, there=there).for_actors(self.pieces, self.networks)
        return min(wanted, _room(self.need, "GPU") + max(0, wanted - int(there)))

    def checked(self) -> Places:
        """The same. Raises UserError as `check_memory` does, and says what is asked of an autoscaler."""
        check_memory(self.stage, replace(self.need, count=self.count or 1))
        awaited = self.gpus.awaited(self()) if self.gpus and not self.count else ""
        if awaited:
            say(f"{self.stage}: {awaited}")
        return self


def cores_of_gpu() -> int:
    """The cores of this process's node for each of its GPUs."""
    here = ray.get_runtime_context().get_node_id()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    found: dict[str, float] = next((node["Resources"] for node in nodes if node["NodeID"] == here), {})
    return max(1, int(found.get("CPU", 1) // max(1, found.get("GPU", 1))))


def smallest_store() -> float:
    """The bytes of the smallest object store of a node."""
    return min((node.get("object_store_memory", 0.0) for node in of_nodes()), default=0.0)


@dataclass(frozen=True)
class Share:
    """What each of several equal workers gets; fractions let workers share a core or a GPU."""

    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """Threads for a worker's arithmetic."""
        return max(1, int(self.cpus))


def whole_cpus() -> int:
    """How many workers of one CPU fit on the nodes at the same time."""
    return sum(int(node.get("CPU", 0)) for node in of_nodes())


def share(workers: int, there: Gpus | None) -> Share:
    """Split the cluster among ``workers``: its CPUs, or the GPUs that are ``there`` or may come.

    Beside a part of a GPU a worker gets at most the same part of the CPUs for each GPU of the node that has the fewest.
    """
    if there is None:
        cpus = [node["CPU"] for node in of_nodes() if node.get("CPU")]
        return Share(cpus=cpus_of_each(workers, cpus or [0.5]), gpus=0)
    gpus = there.share(workers)
    beside = min((node.get("CPU", 0) / node["GPU"] for node in of_nodes() if node.get("GPU")), default=1.0)
    return Share(cpus=min(1.0, max(math.floor(beside * gpus * 100) / 100, 0.01)), gpus=gpus)
