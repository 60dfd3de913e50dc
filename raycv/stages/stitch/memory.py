"""How much memory an actor that stitches networks together needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import Need
from raycv.networks.bench import REMEDY, Bench


def actor_need(bench: Bench, widths: Mapping[str, Sequence[int]], folds: Mapping[str, int], decays: int) -> Need:
    """What one actor needs; ``widths``: units of every network, ``folds``: of its statistics, by layer."""
    networks = len(bench.networks)
    needed = [moments_bytes(max(widths[of]), folds[of], decays, networks) for of in bench.hidden_layers]
    remedy = f"use fewer --decays, {REMEDY}"
    return Need.of(bench.bytes(min(folds.values())) + max(needed), remedy, "an actor")


def moments_bytes(units: int, folds: int, decays: int, networks: int) -> int:
    """The peak, in bytes, beside the bench, for S units, F folds, D decays and N networks:

      (N − 1)·F·(2·D + 2)·4·S²    the maps of all ways of joining the others to one network
    + F·80·S²                     products and covariances of a pair, by fold and without each fold
    + (3·D + 20)·8·S²             what solving the mapping layers of one fold takes
    """
    maps = (networks - 1) * folds * (2 * decays + 2) * 4
    return (maps + 80 * folds + (3 * decays + 20) * 8) * units**2
