"""Joining a cluster that is not there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading

import pytest

from raycv.distributed import ray_cluster

ADDRESSES = {
    "127.0.0.1:1": "nothing answers there; start it with `ray start --head`, or unset RAY_ADDRESS",
    "ray://127.0.0.1:1": "nothing answers there",
    "127.0.0.1:99999": "nothing answers there",
    "nowhere.invalid:6379": "nothing answers there",
    "nonsense": "Invalid address format: nonsense",
    ":": "Malformed host",
    "http://127.0.0.1:8265": "It looks like you set RAY_ADDRESS to an HTTP address",
}
# In a process of its own: who is in a cluster joins no other.
JOIN = """
import json, os, sys
from raycv.distributed import ray_cluster
from raycv.errors import UserError
ray_cluster.START_SECONDS = 0.5
said = {}
for address in json.loads(sys.argv[1]):
    os.environ["RAY_ADDRESS"] = address
    try:
        ray_cluster.connect("run")
    except UserError as error:
        said[address] = str(error)
print(json.dumps(said))
"""


def test_addresses_of_no_cluster() -> None:
    command = [sys.executable, "-c", JOIN, json.dumps([*ADDRESSES])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    for address, why in ADDRESSES.items():
        assert said[address].startswith(f"Could not join the Ray cluster at {address}: ")
        assert why in said[address]
        assert "\n" not in said[address]


def test_a_cluster_that_is_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(ray_cluster, "START_SECONDS", 0.2)
        with pytest.raises(ConnectionError):
            ray_cluster._knock(address)
        monkeypatch.setattr(ray_cluster, "START_SECONDS", 60)
        threading.Timer(0.3, server.listen).start()
        ray_cluster._knock(address)
