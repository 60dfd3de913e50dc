"""Weights of trained networks: into a run's folder, out of it, and from a user's own file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import StoredNetwork, folder_of, weights_content
from raycv.run.filesystem import patiently
from raycv.run.store import RunStore


def save(
    store: RunStore, spec: NetworkSpec, weights: Mapping[str, Tensor], *, epoch: int | None = None
) -> StoredNetwork:
    """Store one network, or how it was after ``epoch``; its description is written last and makes it visible."""
    folder = folder_of(spec.name, epoch)
    content = safetensors.torch.save({name: value.contiguous().cpu() for name, value in weights.items()})
    digest = hashlib.sha256(content).hexdigest()
    store.write(f"{folder}/weights.safetensors", content)
    store.write_json(f"{folder}/network.json", {"spec": spec.model_dump(mode="json"), "weights_sha256": digest})
    return StoredNetwork(spec, digest, folder)


def weights_of(store: RunStore, network: StoredNetwork) -> dict[str, Tensor]:
    """The state dict of a stored network. Raises UserError where the file is not what was written."""
    loaded: dict[str, Tensor] = safetensors.torch.load(weights_content(store, network))
    return loaded


def import_weights(uri: str) -> dict[str, Tensor]:
    """A state dict from a ``.safetensors`` file or a PyTorch checkpoint, local or on S3. Never unpickles code.

    A wrapper such as {"state_dict": ...} and the prefix "module." of DataParallel are taken off.
    """
    content: bytes = patiently(uri, "read the checkpoint", lambda fs, path: fs.cat_file(path))
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
