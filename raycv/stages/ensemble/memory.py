"""How much memory an actor that combines networks needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import Need
from raycv.networks.bench import REMEDY, Bench

SMALLER = "use fewer --readout-images, or a narrower --readout-layer"


def actor_need(
    bench: Bench, widths: Mapping[str, Sequence[int]], folds: Mapping[str, int], layer: str, training: int
) -> Need:
    """What one actor needs; ``training``: images that read-outs of ``layer`` are fitted on, 0 where there are none.

    ``widths``: units of every network, ``folds``: of its statistics, by layer.
    """
    classes = bench.networks[0].spec.classes
    if not training:
        return Need.of(bench.bytes() + 8 * len(bench.networks) * classes * len(bench.source), REMEDY, "an actor")
    images = training + len(bench.source)
    needed = readout_bytes(max(widths[layer]), folds[layer], images, len(bench.networks), classes)
    return Need.of(bench.bytes() + needed, SMALLER, "an actor")


def readout_bytes(units: int, folds: int, images: int, networks: int, classes: int) -> int:
    """The peak, in bytes, beside the bench, for S units, F folds, n images in all, N networks and C classes:

      (4·N + 80)·S·n      the units of all networks, and of a pair with what a read-out takes
    + 8·N·C·n + 640·C·S   logits, and what L-BFGS keeps of its steps
    + (2·F + 10)·24·S²    products of a pair by fold, without each fold, and the order in which its units go
    """
    of_images = ((4 * networks + 80) * units + 8 * networks * classes) * images
    return of_images + 640 * classes * units + (2 * folds + 10) * 24 * units**2
