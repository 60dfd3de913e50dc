"""Take networks as they are instead of training them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from raycv.config import PUBLISHED, UNTRAINED, TrainConfig
from raycv.networks import checkpoints
from raycv.networks.models import build, load_weights
from raycv.networks.spec import NetworkSpec
from raycv.progress import doing
from raycv.run import record
from raycv.run.store import RunStore


def weights_of(config: TrainConfig) -> list[str]:
    """Where the weights of every network come from: a file, or what `raycv.config.Network` calls them."""
    return [network.weights for network in config.networks] or list(config.checkpoints)


def import_networks(config: TrainConfig, specs: list[NetworkSpec], store: RunStore) -> dict[str, Any]:
    """Store the networks of ``specs``; return what run.json notes. Raises UserError for weights that do not fit."""
    given = weights_of(config)
    with doing("train: importing the networks"):
        # All are read before anything is written.
        states = [_weights(spec, weights) for spec, weights in zip(specs, given, strict=True)]
        record.begin(store)
        store.remove("networks")
        for number, (spec, state) in enumerate(zip(specs, states, strict=True)):
            checkpoints.save(store, spec, state, number=number)
    return {"imported": [f"{n.model} ({w})" for n, w in zip(config.networks, given, strict=False)] or given}


def _weights(spec: NetworkSpec, weights: str) -> dict[str, Tensor]:
    """As the network has them: in its precision, and without what it has no use for."""
    if weights in (PUBLISHED, UNTRAINED):
        net = build(spec, published=weights == PUBLISHED)
    else:
        net = load_weights(spec, checkpoints.import_weights(weights, spec))
    return net.state_dict()
