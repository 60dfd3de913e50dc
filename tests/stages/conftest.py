"""A run for the stages that come after a run: networks of which two differ only in the order of their units."""

from __future__ import annotations

from pathlib import Path

import pytest

from raycv.cli import main
from raycv.networks import checkpoints
from raycv.networks.models import build
from raycv.run.store import RunStore
from tests.support.permuted import permuted
from tests.support.runs import spec


@pytest.fixture(scope="session")
def aligned_run(images: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> RunStore:
    """net2 is net1 with units of conv3 and fc7 in another order; none is trained."""
    store = RunStore(str(tmp_path_factory.mktemp("after") / "run"))
    first, second, third = (spec(number, 4, ("conv3", "fc7", "fc8")) for number in (1, 2, 3))
    weights = build(first).state_dict()
    checkpoints.save(store, first, weights)
    checkpoints.save(store, second, permuted(weights, {"conv3": "conv4", "fc7": "fc8"}, seed=0))
    checkpoints.save(store, third, build(third).state_dict())
    assert main(["collect", "--run", store.uri, "--data", str(images), "--quiet"]) == 0
    assert main(["align", "--run", store.uri, "--quiet"]) == 3  # untrained networks fail the health check
    return store
