"""How much memory the report needs."""

from __future__ import annotations

from raycv.run.tables import ROW_BYTES

REMEDY = "sweep mapping layers with fewer --decays, or leave the widest layers out with `raycv train --layers`"


def command_bytes(rows: int) -> int:
    """The peak, in bytes, beyond an idle process, for a layer that has so many rows of mapping_weights to be shown.

    They are read whole and grouped by pairs of networks. The page and its pictures, 20 MB at most, are held a few
    times over, which an idle process without PyTorch leaves room for.
    """
    return 2 * ROW_BYTES * rows
