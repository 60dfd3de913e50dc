"""Which figures of mapping layers a run has the tables for (paper, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from raycv.figures.mapping import mapping_figures
from raycv.store import RunStore


def mapping_plan(
    store: RunStore, units: pd.DataFrame, layer: str, first: str, second: str, filters: Mapping[str, np.ndarray]
) -> dict[str, Callable[[], Figure]]:
    """What draws each figure, by name: Table 1 of all layers, figures 6 and 7 of ``layer``; empty without mappings."""
    if not store.list("tables/mappings"):
        return {}
    mappings = store.read_table("mappings", filters=[("solver", "in", ["exact", "sgd"])]).astype({"layer": str})
    if mappings.empty:
        return {}
    both, exact = [first, second], ("solver", "==", "exact")
    of_layer = ("layer", "==", layer)
    of_pair = [of_layer, ("source_net", "in", both), ("target_net", "in", both)]
    weights, of_units, trees = (
        store.read_table(name, filters=filters_).astype({"layer": str})
        for name, filters_ in (
            ("mapping_weights", [*of_pair, exact]),
            ("mapping_units", [*of_pair, exact]),
            ("agglomerations", of_pair),
        )
    )
    patches = pictures = None
    if store.list("tables/patch_pictures"):
        patches = store.read_table("top_patches", filters=[of_layer])
        pictures = store.read_table("patch_pictures", filters=[of_layer, ("net", "in", both)])
        patches, pictures = patches.astype({"layer": str}), pictures.astype({"layer": str})
    return mapping_figures(mappings, weights, of_units, trees, units, layer, first, second, patches, pictures, filters)
