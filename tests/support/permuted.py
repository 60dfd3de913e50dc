"""AlexNets whose units stand in another order, which changes nothing in what they compute."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def order(units: int, seed: int) -> Tensor:
    """(S,): which unit of the first network stands at each place of the second."""
    return torch.randperm(units, generator=torch.Generator().manual_seed(seed))


def permuted(weights: Mapping[str, Tensor], layers: Mapping[str, str], *, seed: int) -> dict[str, Tensor]:
    """The same network with the units of ``layers`` in another order; each layer with the one that reads it.

    No normalisation over neighbouring channels may stand between the two.
    """
    changed = dict(weights)
    for layer, reader in layers.items():
        into = next(name for name in weights if name.startswith(f"{layer}.") and name.endswith("weight"))
        out = next(name for name in weights if name.startswith(f"{reader}.") and name.endswith("weight"))
        places = order(len(weights[into]), seed)
        changed[into] = changed[into][places]
        changed[into.replace("weight", "bias")] = weights[into.replace("weight", "bias")][places]
        changed[out] = changed[out][:, places]
    return changed
