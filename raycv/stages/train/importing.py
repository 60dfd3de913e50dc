"""Take networks as they are instead of training them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from raycv.config import PUBLISHED, UNTRAINED, TrainConfig
from raycv.networks import checkpoints
from raycv.networks.models import build, load_weights
from raycv.networks.recordings import digest
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import StoredNetwork, folder_of
from raycv.progress import doing
from raycv.run import record
from raycv.run.store import RunStore


def weights_of(config: TrainConfig, specs: Sequence[NetworkSpec]) -> list[str]:
    """Where the weights of every network come from: a file, or what `raycv.config.Network` calls them.

    Of recorded activations what changes where the file does.
    """
    given = [network.weights for network in config.networks] or list(config.checkpoints)
    return [digest(spec) if spec.is_recorded else weights for spec, weights in zip(specs, given, strict=True)]


def import_networks(config: TrainConfig, specs: list[NetworkSpec], store: RunStore) -> dict[str, Any]:
    """Store the networks of ``specs``; return what run.json notes. Raises UserError for weights that do not fit."""
    given = weights_of(config, specs)
    with doing("train: importing the networks"):
        # All are read before anything is written.
        states = [_weights(spec, weights) for spec, weights in zip(specs, given, strict=True)]
        record.begin(store)
        store.remove("networks")
        for number, (spec, state) in enumerate(zip(specs, states, strict=True)):
            if spec.is_recorded:
                checkpoints.note(store, StoredNetwork(spec, given[number], folder_of(spec.name), number))
            else:
                checkpoints.save(store, spec, state, number=number)
    return {"imported": [f"{n.model} ({n.weights})" for n in config.networks] or given}


def _weights(spec: NetworkSpec, weights: str) -> dict[str, Tensor]:
    """As the network has them: in its precision, and without what it has no use for."""
    if spec.is_recorded:
        return {}
    if weights in (PUBLISHED, UNTRAINED):
        net = build(spec, published=weights == PUBLISHED)
    else:
        net = load_weights(spec, checkpoints.import_weights(weights, spec))
    return net.state_dict()
