"""Import trained networks instead of training them."""

from __future__ import annotations

from typing import Any

from raycv.config import TrainConfig
from raycv.networks import checkpoints
from raycv.networks.models import load_weights
from raycv.networks.spec import NetworkSpec
from raycv.run import record
from raycv.run.store import RunStore


def import_networks(config: TrainConfig, specs: list[NetworkSpec], store: RunStore) -> dict[str, Any]:
    imported = [checkpoints.import_weights(*given) for given in zip(config.checkpoints, specs, strict=True)]
    # Stored as the network has them: in its precision, and without what it has no use for.
    loaded = [load_weights(spec, weights).state_dict() for spec, weights in zip(specs, imported, strict=True)]
    record.begin(store)
    store.remove("networks")
    for spec, weights in zip(specs, loaded, strict=True):
        checkpoints.save(store, spec, weights)
    return {"imported": list(config.checkpoints)}
