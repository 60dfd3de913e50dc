"""How much memory the report needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raycv.memory import Need
from raycv.run.tables import ROW_BYTES

REMEDY = "sweep mapping layers with fewer --decays, or leave the widest layers out with `raycv train --layers`"


def command_need(widths: Mapping[str, Sequence[int]], decays: int) -> Need:
    """The most that the report of a sweep of so many decays needs; ``widths``: units of every network, by layer."""
    return Need.of(max(command_bytes(most_rows(of_layer, decays)) for of_layer in widths.values()), REMEDY)


def most_rows(widths: Sequence[int], decays: int) -> int:
    """The most rows that a layer has in the table mapping_weights: as many as weights, if none is zero."""
    return decays * (sum(widths) ** 2 - sum(width**2 for width in widths))


def command_bytes(rows: int) -> int:
    """The peak, in bytes, beyond an idle process, for a layer that has so many rows in its largest table.

    They are read whole and grouped by pairs of networks. The page and its pictures, 20 MB at most, are held a few
    times over, which an idle process without PyTorch leaves room for.
    """
    return 2 * ROW_BYTES * rows
