"""How much memory `raycv align` needs: the command, and a comparison of two networks in a wide layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from raycv.analysis.moments import gram_bytes
from raycv.analysis.nulls import WIDE
from raycv.memory import Need
from raycv.run.parts import parts

REMEDY = "compare fewer networks, or leave the widest layers out with `raycv train --layers`"
MATRICES = 48  # float64, as large as a pair's correlations, at the peak of a comparison


def command_need(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int]) -> Need:
    """What the command needs for one layer; ``widths``: units of every network, ``folds``: of its statistics."""
    return Need.of(max(command_bytes(widths[layer], folds[layer]) for layer in widths), REMEDY)


def command_bytes(widths: Sequence[int], folds: int) -> int:
    """The peak, in bytes, beyond an idle process, for F folds, U units in all networks and at most S in one:

      (2·F + 4)·gram      the products of units, those without each fold, and over all images
    + 6·8·U²              similarities of all pairs, of both kinds, and what chance gives in their place
    + threads·60·8·S²     the measures of one pair of networks

    Of a layer whose moments fill several files the command takes the values of one pair of networks after the other,
    64·S²; what is above is needed where they are compared.
    """
    if len(parts(widths)) > 1:
        return 64 * max(widths) ** 2
    threads = 1 if max(widths) > WIDE else os.cpu_count() or 1
    return (2 * folds + 4) * gram_bytes(widths) + 48 * sum(widths) ** 2 + threads * 480 * max(widths) ** 2


def comparison_need(widths: Mapping[str, Sequence[int]]) -> Need:
    """What a task needs that compares two networks in the widest layer: 48·8·S² bytes, for S units."""
    return Need.of(MATRICES * 8 * max(map(max, widths.values())) ** 2, REMEDY, "a comparison")
