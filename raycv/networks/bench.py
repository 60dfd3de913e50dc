"""Networks of a run and its validation images, ready to be tried out on one device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from raycv.data.shards import shards
from raycv.data.sources import Source
from raycv.errors import UserError
from raycv.networks.catalogue import check_buildable
from raycv.networks.checkpoints import weights_of
from raycv.networks.evaluation import BATCH
from raycv.networks.layers import outputs_of
from raycv.networks.models import load_weights
from raycv.networks.sizes import sizes_of
from raycv.networks.spec import check_sees_images
from raycv.networks.stored import StoredNetwork, stored, weights_content
from raycv.run.store import RunStore

REMEDY = "compare fewer or narrower networks, or leave the widest layers out with `raycv train --layers`"
HELD = 2**30  # bytes of decoded images up to which they are decoded once


class NetworkLayer(NamedTuple):
    """What is tried out at once: one layer of one network."""

    layer: str
    net: str
    network: int

    @property
    def name(self) -> str:
        """The path of its result."""
        return f"{self.layer}/{self.net}"


class FoldImages(NamedTuple):
    """Some images of one fold: ``inputs`` (B, 3, H, W) as networks take them, ``labels`` (B,)."""

    fold: int
    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Bench:
    """What an actor tries networks out on. Sent to an actor before it is used, it is small."""

    store: RunStore
    networks: tuple[StoredNetwork, ...]
    source: Source
    device: str = "cpu"
    _nets: dict[int, nn.Module] = field(default_factory=dict, repr=False, compare=False)
    _decoded: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, store: RunStore, source: Source) -> Self:
        """The networks of a run and the images ``source``.

        Raises UserError where weights are missing or damaged, and where layers are not compared as they are.
        """
        networks = tuple(stored(store))
        check_buildable(network.spec for network in networks)
        for network in networks:
            check_sees_images(network.spec)
        for network in networks:  # actors read them too, but would say so only once they have started
            weights_content(store, network)
            if network.spec.places or network.spec.preprocessing != networks[0].spec.preprocessing:
                raise UserError(
                    f"{network.spec.name} is compared in layers of other names or positions in it (see the table "
                    "layers), or prepares images in a way of its own, and here one network's units take the place of "
                    "another's; do this in a run of --compare same and --positions same."
                )
            outputs = outputs_of(network.spec) if network.spec.has_own_outputs else network.spec.classes
            if outputs is None or outputs < source.classes:
                raise UserError(
                    f"{network.spec.name} ({network.spec.model}) gives {outputs or 'no'} logits for an image and the "
                    f"images have {source.classes} classes; this needs networks with a logit for each class."
                )
        return cls(store, networks, source)

    def on(self, device: str) -> Self:
        """The same on another device."""
        return replace(self, device=device, _nets={}, _decoded={})

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """All layers but the logits, whose units are classes. Raises UserError where there is no other."""
        found = self.networks[0].spec.hidden_layers
        if not found:
            raise UserError("The networks were compared in their logits only; name other layers with --layers.")
        return found

    def pieces(self) -> list[NetworkLayer]:
        """Every hidden layer of every network."""
        names = [network.spec.name for network in self.networks]
        return [NetworkLayer(layer, name, number) for layer in self.hidden_layers for number, name in enumerate(names)]

    def batch(self, folds: int = 1) -> int:
        """Images in the largest part, where all are cut into ``folds``."""
        return min(BATCH, -(-len(self.source) // folds))

    def values(self) -> int:
        """Numbers that all modules of the largest network give for one image."""
        return max(sizes_of(network.spec).values for network in self.networks)

    def bytes(self, folds: int = 1) -> int:
        """The most that this takes at work, beyond an idle process: N networks with P parameters in all, n images.

        With batches of B images, of a network that gives A values for an image in all its modules:

          4·P + 2·4·max P_net             weights, and the file that a network is read from
        + min(3·(pixels)·n, 2³⁰)          decoded images, where all of them are held
        + 5·4·B·3·(pixels)                those of a batch, as bytes and as floats
        + 1.5·4·B·A                       what a cut network keeps of a batch, and copies of what it changes in place
        """
        batch = self.batch(folds)
        sizes = [sizes_of(network.spec) for network in self.networks]
        pixels = max(network.spec.preprocessing.resizing.size**2 for network in self.networks)
        images = min(3 * pixels * len(self.source), HELD) + 5 * 4 * batch * 3 * pixels
        weights = 4 * sum(of_net.weights for of_net in sizes) + 2 * 4 * max(of_net.weights for of_net in sizes)
        return weights + images + 6 * batch * self.values()

    def net(self, number: int) -> nn.Module:
        """One of the networks, in evaluation mode."""
        if number not in self._nets:
            network = self.networks[number]
            self._nets[number] = load_weights(network.spec, weights_of(self.store, network)).to(self.device)
        return self._nets[number]

    def parts(self, folds: int) -> Iterator[FoldImages]:
        """All images, fold by fold as the pass has cut them into ``folds``, a batch at a time."""
        preprocessing = self.networks[0].spec.preprocessing
        held = len(self.source) * preprocessing.resize**2 * 3 <= HELD
        for shard in shards(len(self.source), folds=folds, shard_size=BATCH):
            found = self._decoded.get(shard.number) if held else None
            if found is None or len(found[1]) != len(shard.images):
                found = self.source.decode(shard.images, preprocessing.resizing)
                if held:
                    self._decoded[shard.number] = found
            pixels, labels = (torch.from_numpy(array).to(self.device) for array in found)
            yield FoldImages(shard.fold, preprocessing.evaluation(pixels), labels)
