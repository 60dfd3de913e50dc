"""Turn one shard of images into its partial, in plain PyTorch: pass each batch through every network, add up moments.

`raycv.stages.collect.memory.actor_bytes` gives the memory this needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from raycv.analysis.top_patches import Peaks, TopPatches, peaks
from raycv.data.preprocessing import Resize
from raycv.data.recorded import Recorded, in_full
from raycv.data.sampling import Chosen, choose, choose_images
from raycv.data.tokenizing import Tokens
from raycv.devices import for_float64
from raycv.errors import UserError
from raycv.networks.models import untrained as draw
from raycv.networks.nonlinearity import NonLinearity
from raycv.networks.places import PlacedTaps, at
from raycv.networks.rectified import Before
from raycv.networks.spec import NetworkSpec, Place
from raycv.networks.taps import Tapped, as_samples
from raycv.networks.tokens import part_among
from raycv.run.paths import ACROSS, NETS, TESTED, Key
from raycv.stages.collect.groups import Groups, batch_of
from raycv.statistics.accumulator import Accumulator
from raycv.statistics.moments import JointMoments

PILOT_IMAGES = 64
LARGEST = 1e150  # of activations in float64

KINDS = {"samples": choose, "tested": choose_images}  # for mutual information; to test units against chance

Precision = Literal["float32", "bfloat16", "float16"]  # of the forward passes; sums are always float32 in float64


class Recording:
    """Recorded activations in the place of a network. ``order``: which of its samples is which image's, if any."""

    def __init__(self, recorded: Recorded, order: np.ndarray | None) -> None:
        self.recorded, self.order = recorded, order

    def rows(self, layers: Iterable[str], numbers: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """The activations (n, S, ...) of some samples, by layer, as precise as they were recorded."""
        wanted = numbers if self.order is None else self.order[numbers]
        found = {layer: in_full(f"{self.recorded.name}/{layer}", self.recorded.rows(layer, wanted)) for layer in layers}
        return {layer: torch.from_numpy(np.ascontiguousarray(v)).to(device) for layer, v in found.items()}


# The same images (n, size, size, 3) uint8 in each way networks want them decoded, or documents (n, 2, context) int32 in
# each way that they are made sequences (`raycv.data.tokenizing.Tokens.encode`).
Images = Mapping[Any, np.ndarray]
_Named = tuple[str, str]  # network, layer


@dataclass(frozen=True)
class Partial:
    """What one shard adds, by group and layer.

    moments: for layers with positions (convolutional). rows: for layers without (fully connected), one array (images,
    S_n) per network, float32 or as it was recorded. Rows are smaller than their Gram matrix until there are more images
    than units; they are multiplied when a fold is reduced, a thousand or more at a time. samples: for every layer, by
    kind. patches (one per network): for the layers of the trained networks. nonlinearities: by network, of the layers
    whose rows and samples are of the activations before it, from which those after it follow. normalised: of those, by
    network, scale and shift (2, S_n), where they are told (`raycv.networks.rectified.Before`).
    """

    moments: dict[Key, JointMoments]
    rows: dict[Key, list[np.ndarray]]
    samples: dict[tuple[str, Key], ShardSamples]
    patches: dict[Key, list[TopPatches]]
    nonlinearities: dict[tuple[Key, int], NonLinearity]
    normalised: dict[tuple[Key, int], np.ndarray]


@dataclass(frozen=True)
class ShardSamples:
    """One shard's part of the samples that are kept of a layer, of one of ``KINDS``.

    rank (m,): place of each sample among all chosen ones; image (m,): place of its image in the shard; position (m,):
    its position in the layer; values: one array (m, S_n) per network, as rows, empty for a fully connected layer,
    because all its rows are kept.
    """

    rank: np.ndarray
    image: np.ndarray
    position: np.ndarray
    values: list[np.ndarray]


@dataclass(frozen=True)
class Activations:
    """One layer's samples (images x positions, S_n) of every network of a group, of one batch.

    ``before``: those before the non-linearity, empty unless all networks have the layer end in a known one.
    ``nonlinearities``: these, by network. ``normalised``: scale and shift (2, S_n), by network, where they are told.
    """

    values: list[Tensor]
    before: list[Tensor]
    nonlinearities: list[NonLinearity]
    normalised: dict[int, Tensor]

    @property
    def kept(self) -> list[Tensor]:
        """What rows and samples hold."""
        return self.before or self.values


class Collector:
    """Holds all networks of a run on one device and turns shards into partials."""

    def __init__(
        self,
        groups: Groups,
        nets: Mapping[str, torch.nn.Module | Recording],
        device: torch.device,
        precision: Precision = "float32",
    ) -> None:
        self.groups, self.device, self.sums = groups, device, for_float64(device)
        self.precision = getattr(torch, precision)
        specs = [spec for group in groups.values() for spec in group]
        self.preprocessing = {spec.network: spec.preprocessing for spec in specs if spec.sees_images}
        self.tokens = {spec.network: spec.tokens for spec in specs if spec.tokens is not None}
        self.batch = batch_of(specs)
        places: dict[str, dict[_Named, Place]] = {}
        for spec in specs:
            places.setdefault(spec.network, {}).update({(spec.name, layer): spec.place(layer) for layer in spec.layers})
        outputs = {spec.network: spec.output for spec in reversed(specs)}
        self.taps: dict[str, PlacedTaps[_Named]] = {}
        self.recordings: dict[str, tuple[Recording, dict[_Named, Place]]] = {}
        for name, of_network in places.items():
            net = nets[name]
            if isinstance(net, Recording):
                self.recordings[name] = net, of_network
            else:
                self.taps[name] = PlacedTaps(net.to(device).eval(), of_network, outputs[name])

    @property
    def resizings(self) -> set[Resize]:
        """How images are decoded for the networks."""
        return {preprocessing.resizing for preprocessing in self.preprocessing.values()}

    @property
    def sequences(self) -> set[Tokens]:
        """How documents become sequences for the networks."""
        return set(self.tokens.values())

    def pilot(self, images: Images, numbers: np.ndarray) -> dict[Key, np.ndarray]:
        """A rough mean (U,) float64 of every group's and layer's stacked units from a few images.

        It is one of float32 for activations in float32, so that nothing is rounded when it is subtracted from these.
        """
        means: dict[Key, np.ndarray] = {}
        for key, activations in self._forward(images, numbers).items():
            parts = [values.double().mean(0).to(values.dtype).double() for values in activations.values]
            means[key] = torch.cat(parts).cpu().numpy()
        return means

    def partial(self, images: Images, numbers: np.ndarray, pilot: dict[Key, np.ndarray], total_images: int) -> Partial:
        """The partial of one shard: images with their ``numbers`` (n,) among ``total_images``."""
        sums = _Sums(numbers, pilot, total_images, self.sums)
        for start in range(0, len(numbers), self.batch):
            part = slice(start, start + self.batch)
            batch = {how: values[part] for how, values in images.items()}
            for key, activations in self._forward(batch, numbers[part]).items():
                if not sums.add(key, activations, start, len(numbers[part])):
                    raise self._not_finite(key, activations, numbers[part])
        return sums.partial()

    def _not_finite(self, key: Key, activations: Activations, numbers: np.ndarray) -> UserError:
        """An error that names the first network and image of a batch whose activations cannot be added up."""
        for spec, *both in zip(self.groups[key.group], activations.values, activations.kept, strict=True):
            rows = torch.stack([torch.isfinite(values).all(1) for values in both]).all(0)
            finite = rows.reshape(len(numbers), -1).all(1)
            if not finite.all():
                bad = int((~finite).nonzero()[0, 0])
                return UserError(
                    f"Layer {key.layer} of {spec.name} gives activations that are not finite for "
                    f"{'image' if spec.tokens is None else 'document'} {numbers[bad]}; the network has diverged or its "
                    "weights do not suit these samples."
                )
        return UserError(f"The activations of layer {key.layer} are too large for their squares to be added up.")

    def _forward(self, images: Images, numbers: np.ndarray) -> dict[Key, Activations]:
        """The samples of every network in the images of ``numbers``, by group and layer; each network runs once."""
        pictures = {
            preprocessing: preprocessing.evaluation(torch.from_numpy(images[preprocessing.resizing]).to(self.device))
            for preprocessing in set(self.preprocessing.values())
        }
        texts = {how: torch.from_numpy(images[how]).to(self.device).long().unbind(1) for how in self.sequences}
        found: dict[_Named, Tapped] = {}
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
            for net, taps in self.taps.items():
                if net in self.preprocessing:
                    found |= taps.with_before(pictures[self.preprocessing[net]])
                    continue
                tokens, samples = texts[self.tokens[net]]
                found |= taps.with_before(tokens, samples[:, : self.tokens[net].samples])
        for recording, of_network in self.recordings.values():
            parts = {named: part_among(of.module, recording.recorded.layers) for named, of in of_network.items()}
            rows = recording.rows({part.path for part in parts.values()}, numbers, self.sums)
            for named, part in parts.items():
                found[named] = Tapped(at(rows[part.path], of_network[named], part=part), None)
        result: dict[Key, Activations] = {}
        for group, specs in self.groups.items():
            for layer in specs[0].layers:
                tapped = [found[spec.name, layer] for spec in specs]
                values = [as_samples(one.values.to(self.sums)) for one in tapped]
                before = [_moved(one.before, self.sums) for one in tapped if one.before is not None]
                result[Key(group, layer)] = _activations(values, before if len(before) == len(specs) else [])
        return result


def _moved(before: Before, device: torch.device) -> Before:
    scale, shift = (one if one is None else one.to(device) for one in (before.scale, before.shift))
    return before._replace(values=before.values.to(device), scale=scale, shift=shift)


def _activations(values: list[Tensor], before: list[Before]) -> Activations:
    normalised = {
        n: torch.stack([one.scale, one.shift])
        for n, one in enumerate(before)
        if one.scale is not None and one.shift is not None
    }
    kinds = [one.nonlinearity for one in before]
    return Activations(values, [as_samples(one.values) for one in before], kinds, normalised)


class _Sums:
    """The sums over the batches of one shard so far."""

    def __init__(
        self, numbers: np.ndarray, pilot: dict[Key, np.ndarray], total_images: int, device: torch.device
    ) -> None:
        self.numbers, self.pilot, self.total_images, self.device = numbers, pilot, total_images, device
        self.accumulators: dict[Key, Accumulator] = {}
        self.chosen: dict[tuple[str, Key], Chosen] = {}
        self.taken: dict[tuple[str, Key], list[list[Tensor]]] = {}
        self.rows: dict[Key, list[list[Tensor]]] = {}
        self.highest: dict[Key, list[list[Peaks]]] = {}
        self.nonlinearities: dict[tuple[Key, int], NonLinearity] = {}
        self.normalised: dict[tuple[Key, int], np.ndarray] = {}

    def add(self, key: Key, activations: Activations, start: int, images: int) -> bool:
        """Add a batch of ``images`` images that starts at ``start`` in the shard; False where it is not finite."""
        positions = len(activations.values[0]) // images
        kinds = kinds_of(key)
        for kind in kinds:
            if (kind, key) not in self.chosen:
                self.chosen[kind, key] = KINDS[kind](self.numbers, positions, self.total_images)
        if activations.before and (key, 0) not in self.nonlinearities:
            self.nonlinearities |= {(key, n): one for n, one in enumerate(activations.nonlinearities)}
            self.normalised |= {(key, n): of_net.cpu().numpy() for n, of_net in activations.normalised.items()}
        if key.group == NETS:
            self.highest.setdefault(key, []).append([peaks(values, images) for values in activations.values])
        if positions == 1:
            self.rows.setdefault(key, []).append(activations.kept)
            return all(_can_be_squared(values) for values in activations.kept)
        if key not in self.accumulators:
            widths = [values.shape[1] for values in activations.values]
            self.accumulators[key] = Accumulator(widths, self.pilot[key], self.device)
        self.accumulators[key].add(activations.values)
        for kind in kinds:
            inside = _within(self.chosen[kind, key], start, images, positions).to(self.device)
            self.taken.setdefault((kind, key), []).append([values[inside] for values in activations.kept])
        return self.accumulators[key].is_finite()

    def partial(self) -> Partial:
        """The partial: all that was added."""
        samples = {key: _joined(self.taken.get(key, [])) for key in self.chosen}
        return Partial(
            moments={key: accumulator.moments() for key, accumulator in self.accumulators.items()},
            rows={key: _joined(parts) for key, parts in self.rows.items()},
            samples={
                key: ShardSamples(which.rank, which.image, which.position, samples[key])
                for key, which in self.chosen.items()
            },
            patches={
                key: [TopPatches.of(of_net, self.numbers) for of_net in zip(*parts, strict=True)]
                for key, parts in self.highest.items()
            },
            nonlinearities=self.nonlinearities,
            normalised=self.normalised,
        )


def _can_be_squared(values: Tensor) -> bool:
    """Whether activations are finite and, in double precision, have squares."""
    lowest, highest = torch.aminmax(values)
    largest = torch.maximum(highest, -lowest)  # NaN where anything is
    return bool(largest <= min(torch.finfo(values.dtype).max, LARGEST))


def kinds_of(key: Key) -> tuple[str, ...]:
    """Which samples are kept of a layer; of layers compared with all others none, as these need moments alone."""
    if key.group == ACROSS:
        return ()
    return tuple(KINDS) if key.group in TESTED else ("samples",)


def _joined(batches: list[list[Tensor]]) -> list[np.ndarray]:
    """One array per network, its batches joined."""
    return [torch.cat(of_net).cpu().numpy() for of_net in zip(*batches, strict=True)]


def _within(chosen: Chosen, start: int, images: int, positions: int) -> Tensor:
    """The rows of the chosen samples among a batch's (images x positions) samples, in the order of ``chosen``."""
    first, last = np.searchsorted(chosen.image, [start, start + images])  # chosen are sorted by image
    return torch.from_numpy((chosen.image[first:last] - start) * positions + chosen.position[first:last])


def build_untrained(specs: Sequence[NetworkSpec]) -> dict[str, torch.nn.Module]:
    """The untrained networks by name."""
    return {spec.name: draw(spec) for spec in specs}
