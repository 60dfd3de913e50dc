"""Waiting for a cluster's resources: what is missing, and whether an autoscaler can bring it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping

import ray
from ray.exceptions import RayError, RpcError

from raycv.distributed import unpublished_ray
from raycv.progress import say

SILENT_SECONDS = 30.0  # seconds without work going on until it is said what is missing, and again
FIRST = 10.0  # seconds in which an autoscaler reports for the first time
ASKED_FOR = ("CPU", "GPU")

Bundle = tuple[tuple[str, float], ...]  # resources that must be on one node, by name


class Waiting:
    """Tells the user what is missing once no work has gone on for half a minute."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def look(self, *, going_on: bool) -> None:
        """To be called about every second: says what is missing when it is time."""
        if going_on:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > SILENT_SECONDS:
            with contextlib.suppress(RayError, RpcError, RuntimeError):  # a head that is busy answers the next time
                for sentence in missing():
                    say(sentence)
            self._since = time.monotonic()


def missing() -> list[str]:
    """What actors, tasks and placement groups of the cluster wait for at this moment, one sentence for each kind."""
    return [_sentence(dict(bundle), count) for bundle, count in _pending().items()]


def lacks() -> bool:
    """Whether the cluster has been asked for CPUs or GPUs and has none at all."""
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    absent = {name for name in ASKED_FOR if not total.get(name)}
    return bool(absent) and any(name in absent for bundle in _pending() for name, _ in bundle)


def has_autoscaler() -> bool:
    """Whether something starts nodes for this cluster as they are needed, as `ray up` and KubeRay see to."""
    until = time.monotonic() + FIRST
    while True:
        found = unpublished_ray.starts_nodes()
        if found is not None:
            return found
        if time.monotonic() > until:
            return False  # a head without a monitor
        time.sleep(0.5)


def _pending() -> Counter[Bundle]:
    """What the cluster has been asked for and cannot give yet, and how many times."""
    found: Counter[Bundle] = Counter()
    for asked, count in unpublished_ray.demands():
        bundle = tuple((name, asked[name]) for name in ASKED_FOR if asked.get(name))
        if bundle:
            found[bundle] += count
    return found


def _sentence(bundle: Mapping[str, float], count: int) -> str:
    wanted = " and ".join(_counted(amount, name) for name, amount in bundle.items())
    total, free = ray.cluster_resources(), ray.available_resources()  # type: ignore[no-untyped-call]
    there = [
        f"{_counted(total[name], name)} of which {free.get(name, 0):g} are free" if total.get(name) else f"no {name}"
        for name in bundle
    ]
    brings = "an autoscaler that may bring more" if has_autoscaler() else "no autoscaler"
    each = f"{count} times " if count > 1 else ""
    return f"waiting for {each}{wanted}: the cluster has {', '.join(there)}, and {brings}"


def _counted(amount: float, name: str) -> str:
    return f"{amount:g} {name}{'s' * (amount > 1)}"
