"""Networks of a run with a hook in one layer, run on its validation images without anything of the stages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raycv.data.preprocessing import Resize
from raycv.data.shards import shards
from raycv.data.sources import Source, open_source
from raycv.networks.checkpoints import weights_of
from raycv.networks.models import load_weights
from raycv.networks.stored import stored
from raycv.run.store import RunStore


def images_of(store: RunStore, split: str = "validation") -> tuple[Tensor, Tensor]:
    """Images (N, 32, 32, 3) and labels (N,) of a run."""
    source: Source = open_source(store.read_json("run.json")["config"]["data"], split)  # type: ignore[arg-type]
    pixels, labels = source.decode(np.arange(len(source)), Resize(32))
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def fold_of(images: int, folds: int) -> np.ndarray:
    """(N,): the fold of every image."""
    found = np.empty(images, dtype=np.int64)
    for shard in shards(images, folds=folds, shard_size=images):
        found[shard.images] = shard.fold
    return found


@torch.inference_mode()
def outputs(
    store: RunStore, number: int, change: tuple[str, Callable[[Tensor], Tensor]] | None = None, *, tap: str = "fc8"
) -> Tensor:
    """What the layer ``tap`` of a network gives for all validation images, with one layer's output changed."""
    network = stored(store)[number]
    net = load_weights(network.spec, weights_of(store, network))
    found: list[Tensor] = []
    net.get_submodule(tap).register_forward_hook(lambda _module, _args, out: found.append(out))
    if change is not None:
        layer, function = change
        net.get_submodule(layer).register_forward_hook(lambda _module, _args, out: function(out))
    net(network.spec.preprocessing.evaluation(images_of(store)[0]))
    return found[0]


def giving(values: Tensor) -> Callable[[Tensor], Tensor]:
    """A change of a layer's output to ``values``, whatever it was."""
    return lambda _out: values


def loss_and_top1(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and the fraction that is classified correctly."""
    return float(F.cross_entropy(logits.double(), labels)), float((logits.argmax(1) == labels).double().mean())
