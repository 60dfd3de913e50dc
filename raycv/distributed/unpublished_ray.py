"""What raycv uses of Ray that Ray does not promise to keep: all of it, and why nothing public serves.

Because of these few functions raycv is pinned to one minor version of Ray.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray._private.state
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated.gcs_pb2 import (  # type: ignore[attr-defined]  # made by protoc, without types
    ActorTableData,
    JobTableData,
    PlacementGroupTableData,
)
from ray.experimental.internal_kv import _internal_kv_get

FRESH = 60.0  # seconds for which an autoscaler's report holds; it comes every five
BY_HAND = re.compile("node_[0-9a-f]{56}")  # the type that Ray gives a node which no autoscaler has started


def draining() -> set[str]:
    """The numbers of the nodes that will soon be gone, as when a spot node has had its notice.

    `ray.nodes` does not say it, and `ray.util.state` knows nodes only as alive or dead.
    """
    return set(ray._private.state.state.get_draining_nodes())


def node_of(actor: Any) -> str:
    """The number of the node on which an actor is; empty where it is on none.

    `ray.util.state.get_actor` asks the dashboard, which a cluster need not have; an actor that is busy cannot answer.
    Of an actor that waits, the head gives the node that looks for a place, as if it were there.
    """
    found = ray._private.state.actors(actor._actor_id.hex())
    return str(found["Address"]["NodeID"]) if found.get("State") == "ALIVE" else ""


def demands() -> list[tuple[dict[str, float], int]]:
    """The resources that the cluster has been asked for and cannot give yet, each with how many times.

    Only the autoscaler's own kit knows them; `ray status` prints them for people.
    """
    asked = get_cluster_status(ray.get_runtime_context().gcs_address).resource_demands
    of_all = [*asked.placement_group_demand, *asked.ray_task_actor_demand]
    return [(dict(of.bundle), of.count) for demand in of_all for of in demand.bundles_by_count]


@dataclass(frozen=True)
class Claim:
    """What an actor, or one bundle of a placement group, of a ``job`` has reserved on a node, or waits for."""

    job: str
    resources: Mapping[str, float]
    reserved: bool


def claims() -> list[Claim]:
    """What the actors and placement groups of all jobs have and want; tasks leave no trace in the head.

    `ray.util.state` needs the dashboard and tells no resources, and `placement_group_table` tells no job.
    """
    head = ray._private.state.state._connect_and_get_accessor()
    found = []
    for state in ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "RESTARTING", "ALIVE"):
        for actor in map(ActorTableData.FromString, head.get_actor_table(None, state)):
            if not actor.HasField("placement_group_id"):  # else the group has what it needs
                found.append(Claim(actor.job_id.hex(), dict(actor.required_resources), state == "ALIVE"))
    for group in map(PlacementGroupTableData.FromString, head.get_placement_group_table()):
        if group.state != PlacementGroupTableData.REMOVED:
            # Of a group that is not complete, a node that has a bundle may have to give it up again.
            kept = group.state in (PlacementGroupTableData.CREATED, PlacementGroupTableData.RESCHEDULING)
            job = group.creator_job_id.hex()
            found += [Claim(job, dict(one.unit_resources), kept and bool(one.node_id)) for one in group.bundles]
    return found


def driver_of(job: str) -> str:
    """The process that is a job's driver, and the name under which the job was submitted, if it was.

    No public function knows the process without the dashboard.
    """
    head = ray._private.state.state._connect_and_get_accessor()
    table = head.get_job_table(skip_submission_job_info_field=True, skip_is_running_tasks_field=True)
    for one in map(JobTableData.FromString, table):
        if one.job_id.hex() == job:
            submitted = one.config.metadata.get("job_submission_id", "")
            process = f"process {one.driver_pid} on {one.driver_address.ip_address}"
            return f"{process} (job {submitted})" if submitted else process
    return f"job {job}"


def starts_nodes() -> bool | None:
    """Whether the cluster's monitor starts nodes as they are needed; None where it has not reported yet.

    No public function says so. Every head has a monitor. Where it starts no nodes, it takes each for a type of its own
    that is named by its number.
    """
    if is_autoscaler_v2(fetch_from_server=True):
        found = get_cluster_status(ray.get_runtime_context().gcs_address)
        return any(not BY_HAND.fullmatch(node.ray_node_type_name) for node in [*found.active_nodes, *found.idle_nodes])
    report = json.loads(_internal_kv_get("__autoscaling_status") or b"{}")
    if "autoscaler_report" not in report:
        return None
    types = report["autoscaler_report"]["active_nodes"]
    return time.time() - report["time"] < FRESH and not any(map(BY_HAND.fullmatch, types))


def is_starting_nodes() -> bool:
    """Whether the cluster's autoscaler has nodes on their way. Only `ray status` says so, to people."""
    if is_autoscaler_v2(fetch_from_server=True):
        found = get_cluster_status(ray.get_runtime_context().gcs_address)
        return bool(found.pending_nodes or found.pending_launches)
    report = json.loads(_internal_kv_get("__autoscaling_status") or b"{}").get("autoscaler_report", {})
    return bool(report.get("pending_nodes") or report.get("pending_launches"))


def most_of(resource: str) -> float:
    """How much of a resource the cluster may have once all nodes are started that it may start; infinite if unknown.

    No public function says so. Ray Train asks the same, for its own autoscaling. Not every autoscaler tells Ray its
    types of nodes.
    """
    known = ray._private.state.state.get_max_resources_from_cluster_config()
    return float(known.get(resource, 0)) if known else math.inf


def keep_credentials_out_of_trials() -> None:
    """Tune would write the driver's credentials into the trials' runtime environment, and Ray that into its logs.

    What Tune hands on is no setting of it.
    """
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        [name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")]
    )
