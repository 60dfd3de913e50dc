"""How much memory the sweep of clusters needs: a trial, and the command, which puts the statistics in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.analysis.moments import gram_bytes
from raycv.memory import Need

REMEDY = "compare fewer networks, or leave the widest layers out with `raycv train --layers`"


def trial_need(widths: Mapping[str, Sequence[int]]) -> Need:
    """What a trial of the widest layer needs; ``widths``: units of every network by layer."""
    return Need.of(max(trial_bytes(max(of_layer)) for of_layer in widths.values()), REMEDY, "a trial")


def trial_bytes(units: int) -> int:
    """The peak, in bytes, beyond an idle process, for S units in a network: 12·8·(2·S)² + 7·8·S².

    Matrices among the units of both networks: correlations, edges, and what the eigenvectors and measures need; and the
    pair's correlations and those with mixed units, which all trials of a node share.
    """
    return (12 * 8 * 4 + 7 * 8) * units**2


def command_need(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int]) -> Need:
    """What the command needs for the widest layer; ``folds``: of the statistics by layer."""
    return Need.of(max(command_bytes(widths[layer], folds[layer]) for layer in widths), REMEDY)


def command_bytes(widths: Sequence[int], folds: int) -> int:
    """The peak, in bytes, beyond an idle process, for F folds and U units: (2·F + 4)·gram + 3·8·U².

    The products of units, those without each fold, and over all images; and correlations, also with mixed units.
    """
    return (2 * folds + 4) * gram_bytes(widths) + 24 * sum(widths) ** 2
