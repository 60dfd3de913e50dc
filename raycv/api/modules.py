"""Networks of a run as PyTorch modules."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
from torch import nn

from raycv.errors import UserError
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import folder_of
from raycv.run.store import RunStore


def built(store: RunStore, specs: Mapping[str, NetworkSpec], net: str) -> nn.Module:
    """The network ``net``, a name of ``specs`` or a folder that holds weights of the first one's kind."""
    folder = folder_of(net) if net in specs else net
    path = f"{folder}/weights.safetensors"
    if net not in specs and not (net.startswith("merges/") and store.exists(path)):
        raise UserError(f"The run {store.uri} has no network {net!r}; its networks are {', '.join(specs)}.")
    spec = specs[net] if net in specs else next(iter(specs.values()))
    if spec.is_recorded:
        raise UserError(f"{net} is a recording, of which there is no module.")
    module = build(spec)
    module.load_state_dict(safetensors.torch.load(store.read(path)))
    return module.eval()
