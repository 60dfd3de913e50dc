"""A cluster that grows by Ray's own simulated autoscaler, whose nodes are processes of this machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID as HEAD

from tests.support.gated_nodes import GatedNodes
from tests.support.heads import RAY, free_port, running_head

ROOT = Path(__file__).parents[2]
Version = Literal["v1", "v2"]  # of Ray's autoscaler


def scaling(nodes: int, port: int | None = None) -> dict[str, Any]:
    """What `ray start --autoscaling-config` takes: a head at ``port``, and up to so many nodes of one GPU."""
    provider = {"type": "fake_multinode", "disable_node_updaters": True, "disable_launch_config_check": True}
    return {
        "cluster_name": "scaled",
        "max_workers": nodes,
        "idle_timeout_minutes": 9,
        "upscaling_speed": 1.0,
        "docker": {},
        "auth": {},
        "provider": provider | ({"gcs_address": f"127.0.0.1:{port}"} if port else {}),
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": nodes},
        },
        "head_node_type": "ray.head.default",
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{f"{when}_commands": [] for when in ("initialization", "setup", "head_setup", "worker_setup")},
        **{f"{when}_start_ray_commands": [] for when in ("head", "worker")},
    }


@dataclass(frozen=True)
class Scaling:
    """The environment of a cluster's clients, and the ``gate`` that lets in all nodes but the first."""

    environment: dict[str, str]
    gate: Path


@contextlib.contextmanager
def scaling_cluster(nodes: int, files: Path, version: Version) -> Iterator[Scaling]:
    """A head of two processors, whose autoscaler starts up to so many ``nodes`` of one processor and one GPU."""
    port, config, gate = free_port(), files.with_suffix(".json"), files.with_suffix(".gate")
    described = scaling(nodes, port)
    described["provider"] |= {
        # By its type "fake_multinode" the second version does not find it: the wheel lacks a file of its defaults.
        "type": "external",
        "module": f"{GatedNodes.__module__}.{GatedNodes.__name__}",
        "gate": str(gate),
        "launch_multiple": True,
        "head_node_id": HEAD,
        "use_node_id_as_ip": True,  # all nodes have the address of this machine
    }
    config.write_text(json.dumps(described))
    given = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_NODE_TYPE_NAME": "ray.head.default",
        "RAY_enable_autoscaler_v2": str(int(version == "v2")),
        "RAY_worker_niceness": "0",
        "PYTHONPATH": str(ROOT),
    }
    try:
        with running_head(RAY, files, f"--autoscaling-config={config}", given=given, port=port) as environment:
            yield Scaling(environment | {"PYTHONPATH": str(ROOT)}, gate)
    finally:
        config.unlink()
        gate.unlink(missing_ok=True)
        for process in psutil.process_iter(["cmdline"]):  # nodes that the autoscaler has started outlive it
            if str(files) in " ".join(process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
