"""Writing partitioned tables in one call."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from raycv.run import tables
from raycv.run.store import RunStore


def write_layers(store: RunStore, name: str, parts: Iterable[tuple[str, pd.DataFrame]]) -> str:
    """Replace a partitioned table by ``parts``, pairs of (layer, rows); returns its URI."""
    given = list(parts)
    with tables.Writer(store, name, (layer for layer, _ in given)) as writer:
        for layer, rows in given:
            writer.add(layer, rows)
    return writer.uri
