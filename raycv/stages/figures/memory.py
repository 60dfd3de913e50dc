"""How much memory the figures need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import FEWER_NETWORKS, Need
from raycv.run.tables import ROW_BYTES
from raycv.stages.intended import Intended


def command_need(widths: Mapping[str, Sequence[int]]) -> Need:
    """What the figures of the widest layer need; ``widths``: units of every network, by layer."""
    return Need.of(max(command_bytes(of_layer) for of_layer in widths.values()), FEWER_NETWORKS)


def command_bytes(widths: Sequence[int]) -> int:
    """The peak, in bytes, beyond an idle process: of the rows of one layer in the table correlations.

    They are read whole. A drawing itself needs less than what an idle process without Ray leaves room for.
    """
    pairs = (sum(widths) ** 2 + sum(width**2 for width in widths)) // 2
    return ROW_BYTES * pairs


def planned(run: Intended) -> list[Need]:
    """What the figures of an intended run will need."""
    return [command_need(run.widths)]
