"""Joining a cluster that is not there."""

from __future__ import annotations

import socket
import threading

import pytest
import ray

from raycv.distributed import ray_cluster
from raycv.errors import UserError


@pytest.fixture(autouse=True)
def alone() -> None:
    """Who is in a cluster joins no other."""
    if ray.is_initialized():
        pytest.skip("this process is in a cluster")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "nothing answers there; start it with `ray start --head`, or unset RAY_ADDRESS"),
        ("ray://127.0.0.1:1", "nothing answers there"),
        ("127.0.0.1:99999", "nothing answers there"),
        ("nowhere.invalid:6379", "nothing answers there"),
        ("nonsense", "Invalid address format: nonsense"),
        (":", "Malformed host"),
        ("http://127.0.0.1:8265", "It looks like you set RAY_ADDRESS to an HTTP address"),
    ],
)
def test_addresses_of_no_cluster(address: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "PATIENCE", 0.5)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError) as refused:
        ray_cluster.connect("run")
    said = str(refused.value)
    assert said.startswith(f"Could not join the Ray cluster at {address}: ")
    assert why in said
    assert "\n" not in said


def test_a_cluster_that_is_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(ray_cluster, "PATIENCE", 0.2)
        with pytest.raises(ConnectionError):
            ray_cluster._knock(address)
        monkeypatch.setattr(ray_cluster, "PATIENCE", 60)
        threading.Timer(0.3, server.listen).start()
        ray_cluster._knock(address)
