"""A run made of given rows, as the plans of figures see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from raycv.drawing.subject import Subject
from raycv.run import tables
from raycv.run.schema import BY_NAME
from raycv.run.store import RunStore
from tests.support.tables import write_layers


def subject_of(
    folder: Path,
    frames: Mapping[str, pd.DataFrame],
    *,
    layers: Sequence[str],
    nets: Sequence[str],
    units: pd.DataFrame,
    matchings: pd.DataFrame | None = None,
    filters: Mapping[str, np.ndarray] | None = None,
) -> Subject:
    """``frames`` become the run's tables; columns that they lack are left empty."""
    store = RunStore(str(folder))
    for name, frame in frames.items():
        columns = BY_NAME[name].schema.names
        if BY_NAME[name].partition:
            by_layer = frame.groupby("layer", sort=False)
            write_layers(store, name, ((str(layer), rows.reindex(columns=columns)) for layer, rows in by_layer))
        else:
            tables.write(store, name, frame.reindex(columns=columns))
    none = pd.DataFrame({"layer": []}) if matchings is None else matchings
    return Subject(store, list(layers), list(nets), units, none, filters or {})
