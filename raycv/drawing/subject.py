"""The data for the figures of a run: its tables, and the two networks that figures of a pair show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.run import tables
from raycv.run.store import RunStore

Plan = dict[str, Callable[[], Figure]]  # figure name -> function that draws it; drawing one at a time saves memory


@dataclass(frozen=True)
class Subject:
    """One run. ``units`` and ``matchings`` are the tables; ``filters``: network -> (S, 3, H, W) of the first layer.

    A network whose first layer is no convolution of the image has no filters.
    """

    store: RunStore
    layers: list[str]
    nets: list[str]
    units: pd.DataFrame
    matchings: pd.DataFrame
    filters: Mapping[str, np.ndarray]

    @property
    def first(self) -> str:
        """The first layer."""
        return self.layers[0]

    @property
    def net_a(self) -> str:
        """The first network of a pair that is shown."""
        return self.nets[0]

    @property
    def net_b(self) -> str:
        """The second one."""
        return self.nets[1]

    @property
    def all_have_filters(self) -> bool:
        """Whether the first layer of every network can be drawn as filters."""
        return len(self.filters) == len(self.nets)

    def is_rectified(self, layer: str) -> bool:
        """Whether no unit of ``layer`` has a negative mean activation."""
        return bool((self.units.loc[self.units["layer"] == layer, "mean"] >= 0).all())

    def has(self, table: str) -> bool:
        """Whether the run has a table."""
        return tables.exists(self.store, table)

    def read(self, table: str, **options: Any) -> pd.DataFrame:
        """A table of the run; the options are those of `raycv.run.tables.read`."""
        return tables.read(self.store, table, **options)

    def pictures(self, wanted: pd.DataFrame) -> pd.DataFrame:
        """The rows of patch_pictures for the units in ``wanted`` (columns ``layer``, ``net`` and ``unit``)."""
        found = []
        for layer, of_layer in wanted.groupby("layer", sort=False):
            chosen = [
                [("layer", "==", layer), ("net", "==", net), ("unit", "in", units.unique().tolist())]
                for net, units in of_layer.groupby("net")["unit"]
            ]
            found.append(self.read("patch_pictures", filters=chosen))
        return pd.concat(found, ignore_index=True)
