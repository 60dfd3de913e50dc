"""The paper's training of mapping layers as it was done: on activations streamed from the networks (section 4).

Every iteration shows 32 images drawn at random to all networks. Of the activations the gradient of a mapping layer's
loss on a batch needs only the batch's second moments of z-scores (`raycv.analysis.mapping`), so one product of the
networks' stacked z-scores serves every ordered pair and every decay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np
import torch
from torch import Tensor

from raycv.analysis.mapping import MappingLayer, Pair, checked_decays
from raycv.analysis.sgd import PUBLISHED, Descent, Schedule
from raycv.data.sources import Source
from raycv.networks.checkpoints import weights_of
from raycv.networks.models import load_weights
from raycv.networks.places import activation_at
from raycv.networks.stored import StoredNetwork
from raycv.networks.taps import as_samples
from raycv.run.store import RunStore
from raycv.statistics.folds import LayerStatistics, correlations
from raycv.statistics.moments import mean, offsets, variance

BATCH = 32  # images per iteration (`raycv.analysis.sgd` has the rest of the published schedule)


@dataclass(frozen=True)
class Stream:
    """The networks and images of a run."""

    store: RunStore
    networks: tuple[StoredNetwork, ...]
    source: Source

    @torch.inference_mode()
    def batches(self, layer: str, device: torch.device, seed: int) -> Iterator[list[Tensor]]:
        """Without end: samples (BATCH x positions, S) of ``layer`` of every network for images drawn at random."""
        nets = [load_weights(n.spec, weights_of(self.store, n)).to(device) for n in self.networks]
        specs = [network.spec for network in self.networks]
        ways = {spec.preprocessing for spec in specs}
        numbers = np.random.default_rng(seed)
        while True:
            chosen = numbers.integers(len(self.source), size=BATCH)
            batch = {
                way: way.evaluation(torch.from_numpy(self.source.decode(chosen, way.resizing)[0]).to(device))
                for way in ways
            }
            yield [
                as_samples(activation_at(net, spec.place(layer), spec.output, batch[spec.preprocessing]))
                for net, spec in zip(nets, specs, strict=True)
            ]


def streamed_paths(
    stream: Stream,
    of_layer: LayerStatistics,
    layer: str,
    decays: Sequence[float],
    *,
    device: torch.device,
    seed: int = 0,
    schedule: Schedule = PUBLISHED,
) -> dict[tuple[int, int], list[MappingLayer]]:
    """The mapping layers of every ordered pair of networks (source, target) in one layer, one per decay.

    ``of_layer`` gives the means and deviations that standardise both sides (footnote 9) and the correlations on which
    the results are scored. The weights start as those of `raycv.analysis.sgd.sgd_path` with the same ``seed``: what
    differs from its result is the noise of the batches.
    """
    total, left_out = of_layer.all, of_layer.left_out()
    found = correlations(total, left_out)
    bounds = offsets(total.widths)
    deviation = np.sqrt(variance(total))
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=(deviation > 0) & ~left_out)
    centre, scale = (torch.from_numpy(v.astype(np.float32)).to(device) for v in (mean(total), scale))
    descents = {
        (a, b): Descent(
            Pair.of(found[a, a], found[a, b] if a < b else found[b, a].T),
            checked_decays(decays),
            seed,
            schedule,
            device,
        )
        for a, b in permutations(range(len(total.widths)), 2)
    }
    live = [torch.from_numpy(np.flatnonzero(~left_out[i:j]) + i).to(device) for i, j in pairwise(bounds)]
    batches = stream.batches(layer, device, seed)
    for _ in range(schedule.iterations):
        scores = (torch.cat(next(batches), 1) - centre) * scale
        moments = scores.T @ scores / len(scores)
        for (a, b), descent in descents.items():
            descent.step(moments[live[a][:, None], live[a]], moments[live[b][:, None], live[a]])
    return {pair: descent.layers() for pair, descent in descents.items()}
