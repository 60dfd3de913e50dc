"""Waiting for a cluster's resources: what is missing, who has it, and whether an autoscaler can bring more."""

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
    """Tells the user what is missing once no work has gone on for half a minute.

    It is what actors and placement groups of this job wait for, or else ``wanted``: what a task does, by name.
    """

    def __init__(self, wanted: Mapping[str, float] | None = None) -> None:
        self._wanted = wanted
        self._since = time.monotonic()

    def look(self, *, going_on: bool) -> None:
        """To be called about every second: says what is missing when it is time."""
        if going_on:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > SILENT_SECONDS:
            with contextlib.suppress(RayError, RpcError, RuntimeError):  # a head that is busy answers the next time
                for sentence in self._missing():
                    say(sentence)
            self._since = time.monotonic()

    def _missing(self) -> list[str]:
        if self._wanted is None:
            return missing()
        return [_sentence(self._wanted, 1)] if _starves(self._wanted) else []


def missing() -> list[str]:
    """What actors and placement groups of this job wait for at this moment, one sentence for each kind."""
    return [_sentence(dict(bundle), count) for bundle, count in _pending().items()]


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
    """What this job has asked for and cannot be given yet, and how many times.

    An actor whose process starts has no node yet either, but the cluster knows of no demand for it.
    """
    mine = ray.get_runtime_context().get_job_id()
    claimed = Counter(_bundle(of.resources) for of in unpublished_ray.claims() if of.job == mine and not of.reserved)
    demanded: Counter[Bundle] = Counter()
    for asked, count in unpublished_ray.demands():
        demanded[_bundle(asked)] += count
    both = claimed & demanded
    del both[()]
    return both


def _starves(wanted: Mapping[str, float]) -> bool:
    """Whether no task that wants so much can run, since the cluster has it not, or actors and placement groups have it.

    What tasks wait for stands nowhere, and what they have neither; they give it back soon.
    """
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    held = sum(_held().values(), Counter[str]())
    return any(total.get(name, 0) - held[name] < amount for name, amount in wanted.items())


def _bundle(resources: Mapping[str, float]) -> Bundle:
    return tuple((name, resources[name]) for name in ASKED_FOR if resources.get(name))


def _held() -> dict[str, Counter[str]]:
    """What actors and placement groups have, by job and resource."""
    found: dict[str, Counter[str]] = {}
    for claim in unpublished_ray.claims():
        for name in ASKED_FOR:
            if claim.reserved and claim.resources.get(name):
                found.setdefault(claim.job, Counter())[name] += claim.resources[name]  # type: ignore[assignment]
    return found


def _sentence(bundle: Mapping[str, float], count: int) -> str:
    total, free = ray.cluster_resources(), ray.available_resources()  # type: ignore[no-untyped-call]
    there = [
        f"{_counted(total[name], name)} of which {free.get(name, 0):g} are free" if total.get(name) else f"no {name}"
        for name in bundle
    ]
    brings = "an autoscaler that may bring more" if has_autoscaler() else "no autoscaler"
    each = f"{count} times " if count > 1 else ""
    has = f"the cluster has {', '.join(there)}, and {brings}"
    return "; ".join([f"waiting for {each}{_listed(bundle)}: {has}", *_holders(bundle)])


def _holders(bundle: Mapping[str, float]) -> list[str]:
    """A clause for each job whose actors and placement groups have some of it."""
    mine, found = ray.get_runtime_context().get_job_id(), []
    for job, held in _held().items():
        some = {name: held[name] for name in bundle if held[name]}
        if some:
            who = "this command" if job == mine else unpublished_ray.driver_of(job)
            found.append(f"{who} has {_listed(some)}")
    return found


def _listed(resources: Mapping[str, float]) -> str:
    return " and ".join(_counted(amount, name) for name, amount in resources.items())


def _counted(amount: float, name: str) -> str:
    return f"{amount:g} {name}{'s' * (amount > 1)}"
