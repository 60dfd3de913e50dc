"""How much memory a trial of the sweep of clusters needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import FEWER_NETWORKS, Need
from raycv.stages.intended import Intended


def trial_need(widths: Mapping[str, Sequence[int]], folds: Mapping[str, int]) -> Need:
    """What a trial of the widest layer needs; ``widths``: units of every network, ``folds``: of its statistics."""
    needed = [trial_bytes(max(of_layer), folds[layer]) for layer, of_layer in widths.items()]
    return Need.of(max(needed), FEWER_NETWORKS, "a trial")


def trial_bytes(units: int, folds: int) -> int:
    """The peak, in bytes, beyond an idle process, for S units and F folds: max(12·8·(2·S)², (F + 4)·24·S²) + 7·8·S².

    Matrices among the units of both networks: correlations, edges, and what the eigenvectors and measures need; before
    them the products by fold and over all images; and the pair's correlations and those with mixed units.
    """
    return (max(12 * 8 * 4, (folds + 4) * 24) + 7 * 8) * units**2


def planned(run: Intended) -> list[Need]:
    """What a trial of an intended run will need."""
    return [trial_need(run.widths, run.folds)]
