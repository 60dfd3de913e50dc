"""The trained networks that a run holds, read without PyTorch: networks/NET/network.json and weights.safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import safetensors.numpy
from pydantic import BaseModel, ValidationError

from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec
from raycv.run.store import RunStore


@dataclass(frozen=True)
class StoredNetwork:
    """A network of a run. ``digest`` names its weights."""

    spec: NetworkSpec
    digest: str


class _Stored(BaseModel):
    spec: NetworkSpec
    weights_sha256: str


def stored(store: RunStore) -> list[StoredNetwork]:
    """The networks of a run, in the order of their numbers. Raises UserError where there are fewer than two."""
    found = []
    for path in store.list("networks"):
        if path.count("/") == 2 and path.endswith("/network.json"):
            content = store.read_json(path)
            try:
                network = _Stored.model_validate(content)
            except ValidationError:
                network = None
            if network is None or network.spec.name != path.split("/")[1]:
                raise UserError(
                    f"{store.locate(path)} does not describe a network of this run; remove it and run `raycv train` "
                    "again."
                )
            found.append(StoredNetwork(network.spec, network.weights_sha256))
    if len(found) < 2:
        raise UserError(
            f"The run {store.uri} holds {len(found)} trained networks and a comparison needs two; "
            "run `raycv train` first."
        )
    return sorted(found, key=lambda network: (len(network.spec.name), network.spec.name))


def weights_content(store: RunStore, network: StoredNetwork) -> bytes:
    """The safetensors file of a network's weights. Raises UserError where it is not what was written."""
    path = f"networks/{network.spec.name}/weights.safetensors"
    content = store.read(path)
    if hashlib.sha256(content).hexdigest() != network.digest:
        raise UserError(
            f"{store.locate(path)} is not the file that training wrote; remove it and run `raycv train` again."
        )
    return content


def first_filters(store: RunStore, networks: Sequence[StoredNetwork], units: dict[str, int]) -> dict[str, np.ndarray]:
    """The kernels (S, 3, H, W) of each network's convolution of the image, where it has one of as many ``units``."""
    found = {}
    for network in networks:
        weights = safetensors.numpy.load(weights_content(store, network))
        kernels = [v for _, v in sorted(weights.items()) if v.ndim == 4]
        of_colours = [v for v in kernels if v.shape[1] == 3 and len(v) == units.get(network.spec.name)]
        if of_colours:
            found[network.spec.name] = of_colours[0].astype(np.float32)
    return found
