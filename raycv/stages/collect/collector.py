"""Turn one shard of images into its partial, in plain PyTorch: pass each batch through every network, add up moments.

`raycv.stages.collect.memory.actor_bytes` gives the memory this needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from raycv.analysis.accumulator import Accumulator
from raycv.analysis.moments import Moments
from raycv.analysis.top_patches import Peaks, TopPatches, peaks
from raycv.data.preprocessing import Preprocessing
from raycv.data.sampling import Chosen, choose
from raycv.errors import UserError
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.networks.taps import Taps, as_samples
from raycv.run.paths import NETS, Key

BATCH = 64  # images forwarded at once
PILOT_IMAGES = 64

Precision = Literal["float32", "bfloat16", "float16"]  # of the forward passes; sums are always float32 in float64
Groups = dict[str, tuple[NetworkSpec, ...]]  # group -> networks compared with one another


@dataclass(frozen=True)
class Partial:
    """What one shard adds, by group and layer.

    moments: for layers with positions (convolutional). rows: for layers without (fully connected), one float32 array
    (images, S_n) per network. Rows are smaller than their Gram matrix until there are more images than units; they are
    multiplied when a fold is reduced, a thousand or more at a time. samples and patches (one per network): for the
    layers of the trained networks.
    """

    moments: dict[Key, Moments]
    rows: dict[Key, list[np.ndarray]]
    samples: dict[Key, Samples]
    patches: dict[Key, list[TopPatches]]


@dataclass(frozen=True)
class Samples:
    """One shard's part of the samples from which a layer's mutual information is estimated.

    rank (m,): place of each sample among all chosen ones; image (m,): place of its image in the shard; values: one
    float32 array (m, S_n) per network, empty for a fully connected layer, because all its rows are kept.
    """

    rank: np.ndarray
    image: np.ndarray
    values: list[np.ndarray]


class Collector:
    """Holds all networks of a run on one device and turns shards into partials."""

    def __init__(
        self,
        groups: Groups,
        nets: dict[str, torch.nn.Module],
        device: torch.device,
        precision: Precision = "float32",
    ) -> None:
        self.groups, self.device = groups, device
        self.precision = getattr(torch, precision)
        specs = [spec for group in groups.values() for spec in group]
        self.layers = specs[0].layers
        self.preprocessing: Preprocessing = specs[0].preprocessing
        self.taps = {spec.name: Taps(nets[spec.name].to(device).eval(), spec.layers, spec.output) for spec in specs}

    def pilot(self, images: np.ndarray) -> dict[Key, np.ndarray]:
        """A rough mean (U,) float32 of every group's and layer's stacked units from a few images (B, H, W, 3)."""
        means: dict[Key, np.ndarray] = {}
        for key, activations in self._forward(images).items():
            means[key] = torch.cat([values.double().mean(0) for values in activations]).float().cpu().numpy()
        return means

    def partial(
        self, images: np.ndarray, numbers: np.ndarray, pilot: dict[Key, np.ndarray], total_images: int
    ) -> Partial:
        """The partial of one shard: images (n, H, W, 3) uint8 with their ``numbers`` (n,) among ``total_images``."""
        sums = _Sums(numbers, pilot, total_images, self.device)
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            for key, activations in self._forward(images[part]).items():
                if not sums.add(key, activations, start, len(images[part])):
                    raise self._not_finite(key, activations, numbers[part])
        return sums.partial()

    def _not_finite(self, key: Key, activations: Sequence[Tensor], numbers: np.ndarray) -> UserError:
        """An error that names the first network and image of a batch whose activations cannot be added up."""
        for spec, values in zip(self.groups[key.group], activations, strict=True):
            sums = values.abs().sum(1, dtype=torch.float64).reshape(len(numbers), -1).sum(1)
            finite = sums < torch.finfo(torch.float32).max
            if not finite.all():
                bad = int((~finite).nonzero()[0, 0])
                return UserError(
                    f"Layer {key.layer} of {spec.name} gives activations that are not finite for image {numbers[bad]}; "
                    "the network has diverged or its weights do not suit these images."
                )
        return UserError(f"The activations of layer {key.layer} are too large to be added up in single precision.")

    def _forward(self, images: np.ndarray) -> dict[Key, list[Tensor]]:
        """Samples (images x positions, S_n) of every network, by group and layer."""
        batch = self.preprocessing.evaluation(torch.from_numpy(images).to(self.device))
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
            found = {name: taps(batch) for name, taps in self.taps.items()}
        result: dict[Key, list[Tensor]] = {}
        for group, specs in self.groups.items():
            for layer in self.layers:
                values = [as_samples(found[spec.name][layer]) for spec in specs]
                _check_positions(layer, specs, values, len(images))
                result[Key(group, layer)] = values
        return result


class _Sums:
    """The sums over the batches of one shard so far."""

    def __init__(
        self, numbers: np.ndarray, pilot: dict[Key, np.ndarray], total_images: int, device: torch.device
    ) -> None:
        self.numbers, self.pilot, self.total_images, self.device = numbers, pilot, total_images, device
        self.accumulators: dict[Key, Accumulator] = {}
        self.chosen: dict[Key, Chosen] = {}
        self.taken: dict[Key, list[list[Tensor]]] = {}
        self.rows: dict[Key, list[list[Tensor]]] = {}
        self.highest: dict[Key, list[list[Peaks]]] = {}

    def add(self, key: Key, activations: list[Tensor], start: int, images: int) -> bool:
        """Add a batch of ``images`` images that starts at ``start`` in the shard; False where it is not finite."""
        positions = len(activations[0]) // images
        if key.group == NETS and key not in self.chosen:
            self.chosen[key] = choose(self.numbers, positions, self.total_images)
        if key in self.chosen:
            self.highest.setdefault(key, []).append([peaks(values, images) for values in activations])
        if positions == 1:
            self.rows.setdefault(key, []).append(activations)
            return all(bool(torch.isfinite(values.sum())) for values in activations)
        if key not in self.accumulators:
            self.accumulators[key] = Accumulator([a.shape[1] for a in activations], self.pilot[key], self.device)
        self.accumulators[key].add(activations)
        if key in self.chosen:
            inside = _within(self.chosen[key], start, images, positions).to(self.device)
            self.taken.setdefault(key, []).append([values[inside] for values in activations])
        return self.accumulators[key].is_finite()

    def partial(self) -> Partial:
        """The partial: all that was added."""
        samples = {key: _joined(self.taken.get(key, [])) for key in self.chosen}
        return Partial(
            moments={key: accumulator.moments() for key, accumulator in self.accumulators.items()},
            rows={key: _joined(parts) for key, parts in self.rows.items()},
            samples={key: Samples(which.rank, which.image, samples[key]) for key, which in self.chosen.items()},
            patches={
                key: [TopPatches.of(of_net, self.numbers) for of_net in zip(*parts, strict=True)]
                for key, parts in self.highest.items()
            },
        )


def _joined(batches: list[list[Tensor]]) -> list[np.ndarray]:
    """One array per network, its batches joined."""
    return [torch.cat(of_net).cpu().numpy() for of_net in zip(*batches, strict=True)]


def _within(chosen: Chosen, start: int, images: int, positions: int) -> Tensor:
    """The rows of the chosen samples among a batch's (images x positions) samples, in the order of ``chosen``."""
    first, last = np.searchsorted(chosen.image, [start, start + images])  # chosen are sorted by image
    return torch.from_numpy((chosen.image[first:last] - start) * positions + chosen.position[first:last])


def _check_positions(layer: str, specs: Sequence[NetworkSpec], values: Sequence[Tensor], images: int) -> None:
    """Raise UserError where the networks have different numbers of positions in a layer."""
    for spec, found in zip(specs, values, strict=True):
        if len(found) != len(values[0]):
            raise UserError(
                f"Layer {layer} has {len(found) // images} positions in {spec.name} ({spec.model}) and "
                f"{len(values[0]) // images} in {specs[0].name} ({specs[0].model}); networks can be compared "
                "only in layers of the same spatial extent. Name such layers with --layers."
            )


def untrained(specs: Sequence[NetworkSpec]) -> tuple[NetworkSpec, ...]:
    """Two untrained networks of every architecture in ``specs``: its first two networks before training."""
    pairs: list[NetworkSpec] = []
    for model, width in dict.fromkeys((spec.model, spec.width) for spec in specs):
        alike = [spec for spec in specs if (spec.model, spec.width) == (model, width)]
        first = alike[0]
        seeds = [first.seed, alike[1].seed if len(alike) > 1 else first.seed + 1]
        for seed in seeds:
            pairs.append(first.model_copy(update={"name": f"null{len(pairs) + 1}", "seed": seed}))
    return tuple(pairs)


def build_untrained(specs: Sequence[NetworkSpec]) -> dict[str, torch.nn.Module]:
    """The untrained networks by name."""
    return {spec.name: build(spec) for spec in specs}
