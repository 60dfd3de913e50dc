"""What each network saves after an epoch, to go on from, in one file: weights, what the optimiser keeps, and metrics.

Networks save apart from one another, so that one that has to go back takes no other with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from raycv.run.names import is_ours
from raycv.run.store import RunStore

History = list[dict[str, Any]]  # one row of the table `training` for each epoch
KEPT = 2  # of the last epochs: a worker that was taken for dead may still write while another reads
WEIGHTS = "weights/"
# What optimisers keep of each parameter, SGD and AdamW, and under which names.
KEPT_BY = {"momentum_buffer": "momentum/", "exp_avg": "mean/", "exp_avg_sq": "square/", "step": "step/"}


@dataclass(frozen=True)
class Saved:
    """The files of one network in ``folder``."""

    store: RunStore
    folder: str

    def epochs(self) -> list[int]:
        """After how many epochs there is a file, in order."""
        paths = [path for path in self.store.list(self.folder) if is_ours(path)]
        return sorted(int(path.rpartition("/")[2].partition(".")[0]) for path in paths)

    def write(self, net: nn.Module, optimizer: torch.optim.Optimizer, history: History) -> None:
        """Save the network as it is, after as many epochs as ``history`` has; files of long ago go."""
        self.store.write(self._path(len(history)), packed(net, optimizer, history))
        for epoch in self.epochs()[:-KEPT]:
            self.store.remove(self._path(epoch))

    def restore(self, epoch: int, net: nn.Module, optimizer: torch.optim.Optimizer) -> History:
        """Give ``net`` and ``optimizer`` what was saved after ``epoch``; returns the metrics of its epochs."""
        return unpack(self.store.read(self._path(epoch)), net, optimizer)

    def read(self, epoch: int) -> tuple[dict[str, Tensor], History]:
        """The weights and metrics saved after ``epoch``."""
        tensors, history = _contents(self.store.read(self._path(epoch)))
        return _part(tensors, WEIGHTS), history

    def _path(self, epoch: int) -> str:
        return f"{self.folder}/{epoch:05d}.safetensors"


def packed(net: nn.Module, optimizer: torch.optim.Optimizer, history: History) -> bytes:
    """The content of a file."""
    tensors = {WEIGHTS + name: tensor for name, tensor in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        state = optimizer.state[parameter]
        tensors |= {prefix + name: state[key] for key, prefix in KEPT_BY.items() if state.get(key) is not None}
    return safetensors.torch.save(contiguous(tensors), {"history": json.dumps(history)})


def unpack(content: bytes, net: nn.Module, optimizer: torch.optim.Optimizer) -> History:
    """Give ``net`` and ``optimizer`` what a file holds; returns its metrics."""
    tensors, history = _contents(content)
    net.load_state_dict(_part(tensors, WEIGHTS))
    for key, prefix in KEPT_BY.items():
        saved = _part(tensors, prefix)
        for name, parameter in net.named_parameters():
            if name in saved:
                like = parameter if saved[name].ndim else saved[name]
                restored = torch.empty_like(like)  # keeps the parameter's memory layout
                optimizer.state[parameter][key] = restored.copy_(saved[name])
    return history


def contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a file takes them."""
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}


def _contents(content: bytes) -> tuple[dict[str, Tensor], History]:
    size = int.from_bytes(content[:8], "little")  # safetensors reads the metadata of files only
    history: History = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["history"])
    return safetensors.torch.load(content), history


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
