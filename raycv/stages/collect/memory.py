"""How much memory the pass will need, computed before it starts."""

from __future__ import annotations

from raycv.data.sampling import WANTED, Strata
from raycv.memory import Need
from raycv.networks.sizes import sizes_of
from raycv.paper import TOP_PATCHES
from raycv.run.paths import ACROSS, NETS, TESTED
from raycv.stages.collect.groups import ROWS_AT_ONCE, UNITS_AT_ONCE, Groups, batch_of
from raycv.statistics.moments import gram_bytes
from raycv.statistics.parts import networks_of, parts


def actor_need(groups: Groups, shard_size: int, images: int) -> Need:
    """What one actor needs."""
    remedy = "use a smaller --shard-size, fewer --actors, or fewer layers or networks with `raycv train`"
    return Need.of(actor_bytes(groups, shard_size, images), remedy, "an actor")


def actor_bytes(groups: Groups, shard_size: int, images: int) -> int:
    """The peak memory, in bytes, that one actor of the pass needs beyond an idle Python process with PyTorch.

    While it collects, for N networks in all, each with P parameters and A values per image in its tapped layers, a
    batch of B images (or texts), and U units of a layer stacked over the networks of a group:

        4·N·P                                       weights
      + 4/3·(8·B·N·A + 3·4·B·max A_layer)           tapped activations of a batch, before and after their ReLU, and
                                                    buffers of one forward pass; a third more for gaps between them,
                                                    which glibc keeps from batch to batch
      + (1 + 4·4)·3·(pixels)·max(shard, B)          decoded images, and one batch of them as floats, at every size
      + 8·(shard)·ΣU                                where every unit of a trained network is highest in each image
      + 3·partial                                   the partial, and its file while it is written

    A partial has 8·(U² + Σ S²)/2 bytes of products per convolutional layer and 4·U per image of the shard per fully
    connected layer; a layer adds 4·U per sample chosen for mutual information or for tests, and of the trained
    networks 16·9·U of top patches. To reduce, the actor gives up the networks. One part of a layer
    (`raycv.statistics.parts`), which has P products (at most 2²⁴, but a unit's in one network with all of another's)
    of U' units, needs

        3·8·P + 28·U'·max(shard, 1024)

    and what chance gives, or the mutual information, of two networks of S units in n samples

        20·S·n + 32·S²

    and their draws, in m samples,

        24·S·m + 4·max(4096, S)·m + 12·S²

    None of this grows with the number of shards, nor any of it but weights, tapped activations and partials with the
    number of networks.
    """
    sizes = {spec.name: sizes_of(spec) for specs in groups.values() for spec in specs}
    networks = {spec.network: spec for specs in groups.values() for spec in specs}
    weights = 4 * sum(sizes_of(spec).weights for spec in networks.values())
    partial = partial_bytes(groups, shard_size, images)
    reducing = highest = 0
    for group, specs in groups.items():
        for layer in specs[0].layers:
            widths = [sizes[spec.name].layers[layer][0] for spec in specs]
            positions = sizes[specs[0].name].layers[layer][1]
            drawn = 0 if group == ACROSS else 20 * max(widths) * min(WANTED, images * positions) + 32 * max(widths) ** 2
            tested = _tested_bytes(max(widths), images, positions) if group in TESTED else 0
            reducing = max(reducing, _reducing_bytes(widths, shard_size), drawn, tested)
            highest += 8 * sum(widths) * shard_size if group == NETS else 0
    values = [units * positions for of_net in sizes.values() for units, positions in of_net.layers.values()]
    batch = batch_of(networks.values())
    forward = (8 * batch * sum(values) + 3 * 4 * batch * max(values)) * 4 // 3
    resizes = {spec.preprocessing.resizing.size for spec in networks.values()}
    decoded = (1 + 4 * 4) * 3 * sum(size**2 for size in resizes) * max(shard_size, batch)
    return max(weights + forward + decoded + highest + 3 * partial, reducing)


def partial_bytes(groups: Groups, shard_size: int, images: int) -> int:
    """The bytes of one shard's partial, which an actor writes and the reduction reads."""
    total = 0
    for group, specs in groups.items():
        sizes = [sizes_of(spec).layers for spec in specs]
        for layer in specs[0].layers:
            widths, positions = [of_net[layer][0] for of_net in sizes], sizes[0][layer][1]
            total += _partial_bytes(group == NETS, widths, positions, shard_size, images)
    return total


def _partial_bytes(trained: bool, widths: list[int], positions: int, shard_size: int, images: int) -> int:
    """The bytes that one layer of one group adds to a shard's partial."""
    stacked = sum(widths)
    chosen = min(1.0, WANTED / (images * positions)) * shard_size * positions
    chosen += Strata.of(positions, images).samples * shard_size / images
    samples = 4 * stacked * chosen if positions > 1 else 0
    top = 16 * TOP_PATCHES * stacked if trained else 0
    return (4 * stacked * shard_size if positions == 1 else gram_bytes(widths)) + int(samples) + top


def _tested_bytes(width: int, images: int, positions: int) -> int:
    """The bytes that the draws by which units of one network are tested need."""
    samples = Strata.of(positions, images).samples
    return 24 * width * samples + 4 * max(UNITS_AT_ONCE, width) * samples + 12 * width**2


def _reducing_bytes(widths: list[int], shard_size: int) -> int:
    """The bytes that the reduction of one part of a layer needs."""
    needed = []
    for part in parts(widths):
        products = sum((block.last - block.first) * widths[block.b] for block in part)
        units = sum(widths[n] for n in networks_of(part))
        needed.append(3 * 8 * products + 28 * units * max(shard_size, ROWS_AT_ONCE))
    return max(needed)
