"""Weights of trained networks: into a run's folder, out of it, and from a user's own file."""

from __future__ import annotations

import argparse
import hashlib
import io
import pathlib
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import fsspec
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from raycv.errors import UserError
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import NetworkSpec
from raycv.networks.stored import SAMPLE, StoredNetwork, folder_of, kept_epochs, stored, weights_content
from raycv.networks.weight_samples import sampled
from raycv.progress import say
from raycv.run.filesystem import with_retries
from raycv.run.store import RunStore

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "checkpoint")
DEEPEST = 5  # wrappers in one another
LARGEST = 64  # bytes of a checkpoint for each weight: a few copies of it, such as an optimiser's, in double precision
BESIDE = 2**30  # bytes that a checkpoint may hold beside them
PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")
COUNTERS = ("n_averaged",)  # of torch.optim.swa_utils.AveragedModel, beside the weights
# What training scripts keep beside weights and is plain data: torchvision's and timm's settings, NumPy's scalars.
PLAIN: list[Any] = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    np._core.multiarray.scalar,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # as NumPy 1 wrote it
    *{type(np.dtype(kind)) for kind in (np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_)},
]


def save(
    store: RunStore, spec: NetworkSpec, weights: Mapping[str, Tensor], *, number: int = 0, epoch: int | None = None
) -> StoredNetwork:
    """Store the network at place ``number``, or how it was after ``epoch``.

    Its description is written last and makes it visible.
    """
    folder = folder_of(spec.name, epoch)
    if epoch is None:
        store.write_arrays(f"{folder}/{SAMPLE}", sampled(weights))
    return save_in(store, folder, spec, weights, number=number)


def save_in(
    store: RunStore, folder: str, spec: NetworkSpec, weights: Mapping[str, Tensor], *, number: int = 0, **facts: Any
) -> StoredNetwork:
    """Store one network in any ``folder`` of the run, with more ``facts`` in its description."""
    content = safetensors.torch.save(_apart(weights))
    digest = hashlib.sha256(content).hexdigest()
    store.write(f"{folder}/weights.safetensors", content)
    return note(store, StoredNetwork(spec, digest, folder, number), **facts)


def describe(store: RunStore, specs: Sequence[NetworkSpec]) -> None:
    """Describe the networks that are stored anew, at every epoch that was kept, as ``specs`` of the same weights."""
    of_name = {spec.name: spec for spec in specs}
    for network in [*stored(store), *chain(*kept_epochs(store).values())]:
        name = network.folder.split("/")[1]
        note(store, replace(network, spec=of_name[name]))


def note(store: RunStore, network: StoredNetwork, **facts: Any) -> StoredNetwork:
    """Write the description of a network, with more ``facts``."""
    said = {"spec": network.spec.model_dump(mode="json"), "weights_sha256": network.digest, "number": network.number}
    store.write_json(f"{network.folder}/network.json", {**said, **facts})
    return network


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, those that share their memory copied, as safetensors stores none twice: embeddings are often tied."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in weights.items():
        value = value.contiguous().cpu()
        memory = value.untyped_storage().data_ptr()
        found[name] = value.clone() if memory in seen else value
        seen.add(memory)
    return found


def weights_of(store: RunStore, network: StoredNetwork) -> dict[str, Tensor]:
    """The state dict of a stored network. Raises UserError where the file is not what was written."""
    loaded: dict[str, Tensor] = safetensors.torch.load(weights_content(store, network))
    return loaded


def import_weights(uri: str, spec: NetworkSpec) -> dict[str, Tensor]:
    """A state dict from a ``.safetensors`` file or a PyTorch checkpoint, local or on S3. Never unpickles code.

    Wrappers such as {"state_dict": ...}, the names that DataParallel and torch.compile put into others, and a prefix
    that all entries share and the network's have not, such as Lightning's ``model.``, are taken off, and the latter is
    said. Raises UserError, before it is read, for a file that is far too large for the network of ``spec``.
    """
    content = _content(uri, spec)
    try:
        if uri.endswith(".safetensors"):
            loaded: Any = safetensors.torch.load(content)
        else:
            loaded = _loaded(uri, content)
    except UserError:
        raise
    except Exception:  # whatever bytes that are no checkpoint make the two parsers raise
        raise UserError(
            f"The checkpoint {uri} is neither safetensors nor a PyTorch state dict; save it with "
            "torch.save(model.state_dict(), path) or safetensors."
        ) from None
    for _ in range(DEEPEST):
        loaded = _inside(uri, loaded)
    if not _is_state(loaded):
        raise UserError(
            f"The checkpoint {uri} holds no state dict (a mapping of names to tensors); save one with "
            "torch.save(model.state_dict(), path) or safetensors."
        )
    loaded = {name: value for name, value in loaded.items() if name not in COUNTERS}
    named = {PREFIXES.sub("", name): value for name, value in loaded.items()}
    if len(named) < len(loaded):
        raise UserError(
            f"The checkpoint {uri} holds weights twice, with and without the prefix module. or _orig_mod.; "
            "save one of the two."
        )
    return _of_network(uri, named, sizes_of(spec).names)


def _inside(uri: str, loaded: Any) -> Any:
    """What a wrapper holds, else the same. Raises UserError where it could be one of several."""
    inner = [name for name in WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(name), dict)]
    if not inner:
        return loaded
    if len(inner) > 1:
        raise UserError(
            f"The checkpoint {uri} holds {' and '.join(map(repr, inner))}, and it is not clear which are the weights; "
            "save those alone, with torch.save(model.state_dict(), path) or safetensors."
        )
    others = [name for name, value in loaded.items() if name not in inner and _is_state(value)]
    if others:
        say(f"{uri}: taking the weights under {inner[0]!r}; it also has some under {', '.join(map(repr, others))}")
    return loaded[inner[0]]


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_entry, value.items()))


def _loaded(uri: str, content: bytes) -> Any:
    """What `torch.save` wrote. Raises UserError that names an object of a kind that is not unpickled."""
    with torch.serialization.safe_globals(PLAIN):
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            refused = re.search(r"GLOBAL ([\w.]+)", str(error))
            if refused is None:
                raise
            raise UserError(
                f"The checkpoint {uri} holds an object of {refused[1]}, which is not loaded because that could "
                "run code; save the weights alone, with torch.save(model.state_dict(), path) or safetensors."
            ) from None


def _of_network(uri: str, given: dict[str, Tensor], names: frozenset[str]) -> dict[str, Tensor]:
    """The entries by the network's own ``names``: without a prefix that all share and that only they have."""
    first = next(iter(given))
    shared = [first[: place + 1] for place, letter in enumerate(first) if letter == "."]
    for prefix in reversed(shared):
        short = {name.removeprefix(prefix): value for name, value in given.items()}
        if all(name.startswith(prefix) for name in given) and names & short.keys() and not names & given.keys():
            say(f"{uri}: the names of all weights begin with {prefix}, which is left out")
            return short
    return given


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _content(uri: str, spec: NetworkSpec) -> bytes:
    """The bytes of a user's file. Raises UserError for what is no file: a device never ends and a pipe may wait."""
    weights = sizes_of(spec).weights

    def read(fs: fsspec.AbstractFileSystem, path: str) -> bytes:
        found = fs.info(path)
        kind = found["type"]
        if kind != "file":
            what = "a folder" if kind == "directory" else "a pipe or device"
            raise UserError(f"The checkpoint {uri} is {what}; name a .safetensors file or a PyTorch state dict.")
        if found["size"] > BESIDE + LARGEST * weights:
            raise UserError(
                f"The checkpoint {uri} has {found['size'] / 1e9:,.1f} GB, and {spec.name} ({spec.model}) has "
                f"{weights:,} weights; name a file of this network."
            )
        content: bytes = fs.cat_file(path)
        return content

    content = with_retries(uri, "read the checkpoint", read)
    if not content:
        raise UserError(f"The checkpoint {uri} is empty; name a .safetensors file or a PyTorch state dict.")
    return content
