"""What PyTorch can use on the nodes on which Ray counts GPUs. Tasks ask there, as the driver's node may have none."""

from __future__ import annotations

import contextlib
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raycv import devices
from raycv.devices import Device, Usable
from raycv.errors import UserError
from raycv.progress import doing, say

PATIENCE = 120.0  # seconds in which a node answers

_found: dict[str, Usable] = {}  # by node; one that has not answered is taken at Ray's word, until its actors start


@ray.remote(num_cpus=0, max_calls=1)  # a process that stayed would keep some of a GPU's memory
def _look() -> Usable:
    """What PyTorch can use on a node; Ray hides no GPU from a task that asks for none."""
    return devices.found()


def look(device: Device) -> None:
    """Ask every node with GPUs, once, and say what they are.

    Raises UserError where PyTorch cannot use those of a node, unless ``device`` is "auto" and it can use none at all.
    """
    new = [node for node in _nodes() if node["NodeID"] not in _found]
    if new:
        with doing(f"asking PyTorch about the GPUs of {len(new)} node{'s' * (len(new) != 1)}"):
            _ask(new)
    _judge(device, new)


def _ask(nodes: list[dict[str, Any]]) -> None:
    asked: dict[Any, dict[str, Any]] = {}
    for node in nodes:
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[_look.options(scheduling_strategy=here).remote()] = node
    ready, late = ray.wait([*asked], num_returns=len(asked), timeout=PATIENCE)
    for reference in late:
        ray.cancel(reference)
    for reference in ready:
        with contextlib.suppress(RayError):
            _found[asked[reference]["NodeID"]] = ray.get(reference)


def _judge(device: Device, new: list[dict[str, Any]]) -> None:
    known = [(node, _found[node["NodeID"]]) for node in _nodes() if node["NodeID"] in _found]
    wrong = [(node, one) for node, one in known if one.kind == "CPU"]
    if wrong and (device == "gpu" or len(wrong) < len(known)):
        raise UserError(devices.unusable(wrong[0][0]["NodeManagerHostname"], wrong[0][1].why))
    answered = {_found[node["NodeID"]] for node in new if node["NodeID"] in _found}
    for one in sorted(answered, key=lambda of: of.kind):
        if one.kind == "CPU":
            say(f"note: Ray counts a GPU that PyTorch cannot use ({one.why}); networks run on CPUs")
        else:
            sums = "" if one.float64 else ", which has no float64: sums are on CPUs"
            say(f"GPUs are of the kind {one.kind}{sums}")


def unusable() -> float:
    """How many of the GPUs that Ray counts PyTorch cannot use, as far as nodes were asked."""
    wrong = {node for node, found in _found.items() if found.kind == "CPU"}
    return sum(node["Resources"]["GPU"] for node in _nodes() if node["NodeID"] in wrong) if wrong else 0.0


def kinds() -> str:
    """The kinds of the GPUs, as far as nodes were asked."""
    return " and ".join(sorted({found.kind for found in _found.values()} - {"CPU"})) or "GPU"


def have_float64() -> bool:
    """Whether the GPUs compute in double precision, as far as nodes were asked."""
    return all(found.float64 for found in _found.values())


def _nodes() -> list[dict[str, Any]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"] and node["Resources"].get("GPU")]
