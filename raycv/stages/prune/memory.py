"""How much memory an actor that prunes needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import Need
from raycv.networks.bench import REMEDY, Bench

ORDERS = 12  # in which units go, random ones included


def actor_need(
    bench: Bench, widths: Mapping[str, Sequence[int]], folds: Mapping[str, int], fractions: Sequence[float]
) -> Need:
    """What one actor needs; ``widths``: units of every network, ``folds``: of its statistics, by layer."""
    needed = [moments_bytes(max(widths[layer]), folds[layer], fractions) for layer in bench.hidden_layers]
    return Need.of(bench.bytes(min(folds.values())) + max(needed), REMEDY, "an actor")


def moments_bytes(units: int, folds: int, fractions: Sequence[float]) -> int:
    """The peak, in bytes, beside the bench, for S units, F folds and fractions f that are removed:

      (2·F + 8)·8·S²          products of the units by fold, and covariances without each; or without each, and both
    + 12·Σ f·(1 − f)·8·S²     the maps by which the units that stay make up for those removed, of one fold
    """
    maps = ORDERS * sum(fraction * (1 - fraction) for fraction in fractions)
    return int((max(2 * folds + 8 + maps, 3 * folds + 4)) * 8 * units**2)
