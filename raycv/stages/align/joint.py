"""Rows of the table joint_activations (paper, figure 8)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raycv.analysis.matching import Matching
from raycv.paper import PAIRS_SHOWN, SHOWN_LAYERS
from raycv.statistics.reader import Statistics


def joint_activations(found: Statistics, place: int, matching: Matching) -> pd.DataFrame:
    """The samples of some matched units in the layer at ``place``; none beyond the first two layers.

    ``matching``: the semi-matching of the first network with the second. Units are taken evenly from the best matched
    to the worst.
    """
    ranked = np.flatnonzero(matching.columns >= 0)
    if place >= SHOWN_LAYERS or not len(ranked):
        return pd.DataFrame()
    ranked = ranked[np.argsort(-matching.values[ranked], kind="stable")]
    chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, PAIRS_SHOWN).round().astype(int))]
    layer = found.layers[place]
    a, b = found.samples(layer)
    first, second = found.names[:2]
    return pd.concat(
        pd.DataFrame(
            {
                "layer": layer,
                "net_a": first,
                "net_b": second,
                "unit_a": unit,
                "unit_b": matching.columns[unit],
                "correlation": matching.values[unit],
                "sample": np.arange(len(a)),
                "value_a": a[:, unit],
                "value_b": b[:, matching.columns[unit]],
            }
        )
        for unit in chosen
    )
