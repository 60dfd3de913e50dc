"""Trained networks in a run's folder: networks/NET/weights.safetensors and networks/NET/network.json."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from raycv.errors import UserError
from raycv.networks import NetworkSpec
from raycv.store import RunStore, filesystem, reaching


@dataclass(frozen=True)
class StoredNetwork:
    """A network of a run. ``digest`` names its weights."""

    spec: NetworkSpec
    digest: str


def save(store: RunStore, spec: NetworkSpec, weights: Mapping[str, Tensor]) -> StoredNetwork:
    """Store one network; its description is written last and makes it visible."""
    content = safetensors.torch.save({name: value.contiguous().cpu() for name, value in weights.items()})
    digest = hashlib.sha256(content).hexdigest()
    store.write(f"networks/{spec.name}/weights.safetensors", content)
    store.write_json(
        f"networks/{spec.name}/network.json", {"spec": spec.model_dump(mode="json"), "weights_sha256": digest}
    )
    return StoredNetwork(spec, digest)


def stored(store: RunStore) -> list[StoredNetwork]:
    """The networks of a run, in the order of their numbers. Raises UserError where there are fewer than two."""
    found = []
    for path in store.list("networks"):
        if path.count("/") == 2 and path.endswith("/network.json"):
            content = store.read_json(path)
            try:
                found.append(StoredNetwork(NetworkSpec(**content["spec"]), content["weights_sha256"]))
            except (ValidationError, KeyError, TypeError):
                raise UserError(f"{store.locate(path)} does not describe a network; train the run again.") from None
    if len(found) < 2:
        raise UserError(
            f"The run {store.uri} holds {len(found)} trained networks and a comparison needs two; "
            "run `raycv train` first."
        )
    return sorted(found, key=lambda network: (len(network.spec.name), network.spec.name))


def weights_of(store: RunStore, network: StoredNetwork) -> dict[str, Tensor]:
    """The state dict of a stored network. Raises UserError where the file is not what was written."""
    path = f"networks/{network.spec.name}/weights.safetensors"
    content = store.read(path)
    if hashlib.sha256(content).hexdigest() != network.digest:
        raise UserError(f"{store.locate(path)} is not the file that training wrote; train or import the network again.")
    loaded: dict[str, Tensor] = safetensors.torch.load(content)
    return loaded


def import_weights(uri: str) -> dict[str, Tensor]:
    """A state dict from a ``.safetensors`` file or a PyTorch checkpoint, local or on S3. Never unpickles code.

    A wrapper such as {"state_dict": ...} and the prefix "module." of DataParallel are taken off.
    """
    fs, path = filesystem(uri)
    with reaching(uri, "read the checkpoint"):
        content: bytes = fs.cat_file(path)
    try:
        if uri.endswith(".safetensors"):
            loaded: Any = safetensors.torch.load(content)
        else:
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # whatever bytes that are no checkpoint make the two parsers raise
        raise UserError(
            f"The checkpoint {uri} is neither safetensors nor a PyTorch state dict; save it with "
            "torch.save(model.state_dict(), path) or safetensors."
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(f"The checkpoint {uri} holds no state dict (a mapping of names to tensors).")
    return {name.removeprefix("module."): value for name, value in loaded.items()}
