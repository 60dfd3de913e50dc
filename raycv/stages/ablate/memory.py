"""How much memory an actor that ablates units needs."""

from __future__ import annotations

from raycv.memory import Need
from raycv.networks.bench import REMEDY, Bench


def actor_need(bench: Bench) -> Need:
    """What one actor needs: a bench at work. Its changes are of no size."""
    return Need.of(bench.bytes(), REMEDY, "an actor")
