"""A cluster that grows by Ray's own simulated autoscaler, whose nodes are processes of this machine."""

from __future__ import annotations

from typing import Any


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
