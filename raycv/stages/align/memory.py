"""How much memory `raycv align` needs: the command, and a comparison of two networks in a wide layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from raycv.analysis.nulls import ROTATIONS, WIDE
from raycv.analysis.rotations import KEPT
from raycv.memory import FEWER_NETWORKS, Need
from raycv.stages.intended import Intended
from raycv.statistics.moments import gram_bytes
from raycv.statistics.parts import parts

MATRICES = 60  # float64, as large as a pair's correlations, at the peak of a comparison, beside those of the folds


def command_need(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int]) -> Need:
    """What the command needs for one layer; ``widths``: units of every network, ``folds``: of its statistics."""
    return Need.of(max(command_bytes(widths[layer], folds[layer]) for layer in widths), FEWER_NETWORKS)


def command_bytes(widths: Sequence[int], folds: int) -> int:
    """The peak, in bytes, beyond an idle process, for F folds, U units in all networks and at most S in one:

      (F + 6)·gram        the products of units by fold, over all images, and without one fold
    + 6·8·U²              similarities of all pairs, of both kinds, and what chance gives in their place
    + threads·60·8·S²     the measures of one pair of networks
    + 20·8·S²             rotations that all pairs share, 2²⁷ at most

    Of a layer whose moments fill several files the command takes the values of one pair of networks after the other,
    64·S²; what is above is needed where they are compared.
    """
    if len(parts(widths)) > 1:
        return 64 * max(widths) ** 2
    rotations = min(KEPT, ROTATIONS * 8 * max(widths) ** 2)
    threads = 1 if max(widths) > WIDE else os.cpu_count() or 1
    return (folds + 6) * gram_bytes(widths) + 48 * sum(widths) ** 2 + threads * 480 * max(widths) ** 2 + rotations


def needs(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int]) -> list[Need]:
    """Of the command and, where layers are compared pair by pair of networks, of a comparison."""
    wide = {layer: units for layer, units in widths.items() if len(parts(units)) > 1}
    return [command_need(widths, folds), *([comparison_need(wide, folds)] if wide else [])]


def comparison_need(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int]) -> Need:
    """What a task needs that compares two networks in the widest layer, for S units and F folds.

    (60 + 3·F)·8·S² bytes, and the rotations that are kept.
    """
    needed = []
    for layer, of_layer in widths.items():
        square = 8 * max(of_layer) ** 2
        needed.append((MATRICES + 3 * folds[layer]) * square + min(KEPT, ROTATIONS * square))
    return Need.of(max(needed), FEWER_NETWORKS, "a comparison")


def planned(run: Intended) -> list[Need]:
    """What aligning an intended run will need."""
    return needs(run.widths, run.folds)
