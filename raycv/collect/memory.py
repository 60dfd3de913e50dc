"""How much memory the pass takes, before it begins."""

from __future__ import annotations

import math

import torch

from raycv.collect.accumulator import ROWS_PER_PRODUCT
from raycv.collect.collector import BATCH, Groups
from raycv.collect.patches import TOP
from raycv.collect.reducer import ROWS_AT_ONCE
from raycv.collect.sampling import WANTED
from raycv.networks import Taps, build

Shapes = dict[str, dict[str, tuple[int, int]]]  # network -> layer -> (units, positions)


def actor_bytes(groups: Groups, shard_size: int, images: int) -> int:
    """The most memory, bytes, that one actor of the pass needs beyond an idle Python process with PyTorch.

    While it collects, with N networks in all, P parameters and A values per image in the tapped layers of each, a batch
    of B images, and U units stacked over the networks of a group in a layer:

        4·N·P                                       weights
      + 4·B·N·A + 3·4·B·max A_layer                 tapped activations of a batch, and what one forward pass works on
      + (1 + 4·4)·3·(pixels)·max(shard, B)          decoded images, and a batch of them as floats
      + 8·(shard)·ΣU                                where in each image every unit of a trained network is highest
      + 3·partial                                   the partial, and its file as it is written

    where a partial has 8·(U² + Σ S²)/2 bytes of Gram strips per convolutional layer, 4·U per image of the shard per
    fully connected layer, and in a layer of the trained networks 4·U per sample chosen for mutual information and
    16·9·U of top patches. While it reduces one layer:

        4·N·P + 3·8·(U² + Σ S²)/2 + 4·S·U + 3·4·U·max(shard, 1024)

    Nothing grows with the number of shards.
    """
    with torch.device("meta"):
        nets = {spec.name: (spec, build(spec)) for group in groups.values() for spec in group}
        shapes: Shapes = {}
        for name, (spec, net) in nets.items():
            crop = spec.preprocessing.crop
            found = Taps(net, spec.layers, spec.output)(torch.empty(1, 3, crop, crop))
            shapes[name] = {layer: (int(value.shape[1]), math.prod(value.shape[2:])) for layer, value in found.items()}
    weights = 4 * sum(int(value.numel()) for _, net in nets.values() for value in net.state_dict().values())
    values = [units * positions for layers in shapes.values() for units, positions in layers.values()]
    preprocessing = next(spec.preprocessing for group in groups.values() for spec in group)
    pixels = preprocessing.resize**2
    partial, reducing, highest = 0, 0, 0
    for group, specs in groups.items():
        for layer in specs[0].layers:
            widths = [shapes[spec.name][layer][0] for spec in specs]
            positions = shapes[specs[0].name][layer][1]
            stacked = sum(widths)
            gram = 4 * (stacked**2 + sum(width**2 for width in widths))
            rows = 4 * stacked * shard_size if positions == 1 else 0
            chosen = min(1.0, WANTED / (images * positions)) * shard_size * positions
            samples = 4 * stacked * chosen if group == "nets" and positions > 1 else 0
            top = 16 * TOP * stacked if group == "nets" else 0
            highest += 8 * stacked * shard_size if group == "nets" else 0
            partial += (rows if positions == 1 else gram) + int(samples) + top
            working = 3 * gram + 4 * max(widths) * stacked + 3 * 4 * stacked * max(shard_size, ROWS_AT_ONCE)
            reducing = max(reducing, working + 4 * ROWS_PER_PRODUCT * stacked)
    forward = 4 * BATCH * sum(values) + 3 * 4 * BATCH * max(values)
    decoded = (1 + 4 * 4) * 3 * pixels * max(shard_size, BATCH)
    return weights + max(forward + decoded + highest + 3 * partial, reducing)
