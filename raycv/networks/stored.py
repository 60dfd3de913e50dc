"""The trained networks that a run holds, read without PyTorch: networks/NET/network.json and weights.safetensors.

The networks as they were after an earlier epoch, where training kept it, are in networks/NET/epochs/EPOCH/.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated

import numpy as np
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raycv.analysis.origin import weight_correlation
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec, first_of
from raycv.run.store import RunStore

SAMPLE = "weights-sample.npz"  # a few of its weights, see `raycv.networks.weight_samples`


@dataclass(frozen=True)
class StoredNetwork:
    """A network of a run. ``digest`` names its weights; ``folder`` holds them; ``number`` is its place among them."""

    spec: NetworkSpec
    digest: str
    folder: str
    number: int = 0


def folder_of(name: str, epoch: int | None = None) -> str:
    """The folder of a network as it is at the end, or as it was after an earlier epoch."""
    return f"networks/{name}" if epoch is None else f"networks/{name}/epochs/{epoch}"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    spec: NetworkSpec
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{0,64}$")]
    number: Annotated[int, Field(ge=0, lt=2**31)] = 0  # runs of earlier versions have none, and are sorted by name


def stored(store: RunStore) -> list[StoredNetwork]:
    """The networks of a run, in the order of their numbers. Raises UserError where there are fewer than two."""
    paths = store.list("networks")
    found = [_read(store, path) for path in paths if path.count("/") == 2 and path.endswith("/network.json")]
    if len(found) < 2:
        raise UserError(
            f"The run {store.uri} holds {len(found)} trained networks and a comparison needs two; "
            "run `raycv train` first."
        )
    return sorted(found, key=_number)


def kept_epochs(store: RunStore) -> dict[int, list[StoredNetwork]]:
    """The networks of a run as they were after earlier epochs, by epoch; their names are NET@EPOCH."""
    found: dict[int, list[StoredNetwork]] = defaultdict(list)
    for path in store.list("networks"):
        match = re.fullmatch(r"networks/[^/]+/epochs/(\d+)/network\.json", path)
        if match:
            network, epoch = _read(store, path), int(match[1])
            named = network.spec.model_copy(update={"name": f"{network.spec.name}@{epoch}"})
            found[epoch].append(replace(network, spec=named))
    return {epoch: sorted(found[epoch], key=_number) for epoch in sorted(found)}


def _read(store: RunStore, path: str) -> StoredNetwork:
    content, wrong = json.dumps(store.read_json(path)), ""
    try:
        found = _Stored.model_validate_json(content, strict=True)
    except ValidationError as error:
        wrong = first_of(error)
    else:
        wrong = "" if found.spec.name == path.split("/")[1] else "spec.name: it is not the name of its folder"
    if wrong:
        raise UserError(
            f"{store.locate(path)} does not describe a network of this run; remove it and run `raycv train` again "
            f"({wrong})."
        )
    return StoredNetwork(found.spec, found.weights_sha256, path.rpartition("/")[0], found.number)


def _number(network: StoredNetwork) -> tuple[int, int, str]:
    """Sorts net2 before net10."""
    return network.number, len(network.spec.name), network.spec.name


def weights_content(store: RunStore, network: StoredNetwork) -> bytes:
    """The safetensors file of a network's weights. Raises UserError where it is not what was written."""
    if network.spec.is_recorded:
        raise UserError(
            f"{network.spec.name} is a recording, {network.spec.model}, and has no weights; this needs networks that "
            "can be run."
        )
    path = f"{network.folder}/weights.safetensors"
    content = store.read(path)
    if hashlib.sha256(content).hexdigest() != network.digest:
        raise UserError(
            f"{store.locate(path)} is not the file that training wrote; remove it and run `raycv train` again."
        )
    return content


def first_filters(store: RunStore, networks: Sequence[StoredNetwork], units: dict[str, int]) -> dict[str, np.ndarray]:
    """The kernels (S, 3, H, W) of each network's convolution of the image, where it has one of as many ``units``."""
    found = {}
    for network in [network for network in networks if not network.spec.is_recorded]:
        weights = safetensors.numpy.load(weights_content(store, network))
        kernels = [v for _, v in sorted(weights.items()) if v.ndim == 4]
        of_colours = [v for v in kernels if v.shape[1] == 3 and len(v) == units.get(network.spec.name)]
        if of_colours:
            found[network.spec.name] = of_colours[0].astype(np.float32)
    return found


def weight_correlations(store: RunStore, names: Sequence[str]) -> dict[frozenset[str], float]:
    """By pair of networks, how their weights correlate; NaN where one has no weights in the run, as a recording."""
    samples = {}
    for name in names:
        path = f"{folder_of(name)}/{SAMPLE}"  # runs of earlier versions have none
        samples[name] = store.read_arrays(path) if store.exists(path) else {}
    return {frozenset((a, b)): weight_correlation(samples[a], samples[b]) for a, b in combinations(names, 2)}
