"""How much memory an actor that merges networks needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import Need
from raycv.networks.bench import REMEDY, Bench
from raycv.networks.sizes import sizes_of


def actor_need(bench: Bench, widths: Mapping[str, Sequence[int]], folds: Mapping[str, int], together: int) -> Need:
    """What one actor needs; ``together``: networks that are made one, ``widths``: units of every network by layer."""
    of_moments = moments_bytes({of: max(widths[of]) for of in bench.hidden_layers}, folds)
    weights, batch = sizes_of(bench.networks[0].spec).weights, bench.batch()
    needed = bench.bytes() + repair_bytes(weights, batch * bench.values(), together) + of_moments
    return Need.of(needed, f"merge fewer networks at once with --pairs, {REMEDY}", "an actor")


def repair_bytes(weights: int, values: int, together: int) -> int:
    """The peak, in bytes, beside the bench, for P parameters, A values in all modules for a batch, k networks:

      4·(2·k + 10)·P       their weights permuted, once more in networks, what comes out, two in float64
    + 4·k·A/2              a batch at all places that are repaired, in each network
    """
    return 4 * (2 * together + 10) * weights + 2 * together * values


def moments_bytes(widths: Mapping[str, int], folds: Mapping[str, int]) -> int:
    """The peak, in bytes, of similarities, for layers of S units with F folds: max (2·F + 4)·24·S² + Σ 4·8·S²."""
    pairs = [(2 * folds[layer] + 4) * 24 * units**2 for layer, units in widths.items()]
    return max(pairs) + sum(4 * 8 * units**2 for units in widths.values())
