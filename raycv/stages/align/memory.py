"""How much memory `raycv align` needs. It holds one layer at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from raycv.analysis.moments import gram_bytes
from raycv.analysis.nulls import WIDE
from raycv.memory import Need


def command_need(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int]) -> Need:
    """What the widest layer needs; ``widths``: units of every network, ``folds``: of its statistics, by layer."""
    remedy = "compare fewer networks, or leave the widest layers out with `raycv train --layers`"
    return Need.of(max(command_bytes(widths[layer], folds[layer]) for layer in widths), remedy)


def command_bytes(widths: Sequence[int], folds: int) -> int:
    """The peak, in bytes, beyond an idle process, for F folds, U units in all networks and at most S in one:

      (2·F + 4)·gram      the products of units, those without each fold, and over all images
    + 6·8·U²              similarities of all pairs, of both kinds, and what chance gives in their place
    + threads·60·8·S²     the measures of one pair of networks
    """
    threads = 1 if max(widths) > WIDE else os.cpu_count() or 1
    return (2 * folds + 4) * gram_bytes(widths) + 48 * sum(widths) ** 2 + threads * 480 * max(widths) ** 2
