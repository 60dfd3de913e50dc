"""The tables of top patches and joint activations, from what the pass has kept."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raycv import tables
from raycv.analysis.matching import Matching
from raycv.collect.actors import SHOWN_LAYERS
from raycv.receptive import receptive_fields
from raycv.statistics import Statistics

PAIRS_SHOWN = 8  # of matched units, evenly from the best to the worst (paper, figure 8)


def top_patches(found: Statistics) -> pd.DataFrame:
    """The table top_patches."""
    fields = [receptive_fields(spec) for spec in found.groups["nets"]]
    frames = []
    for layer in found.layers:
        for spec, of_net, top in zip(found.groups["nets"], fields, found.patches(layer), strict=True):
            unit, rank = np.nonzero(top.image >= 0)
            boxes = of_net[layer].boxes(top.position[unit, rank].astype(np.int64))
            about = {"net": spec.name, "layer": layer, "unit": unit, "rank": rank + 1}
            frames.append(
                pd.DataFrame(about | {"image": top.image[unit, rank], "value": top.value[unit, rank]} | boxes)
            )
    return pd.concat(frames)


def joint_activations(found: Statistics, matchings: dict[str, Matching]) -> pd.DataFrame:
    """The table joint_activations. ``matchings``: by layer, the semi-matching of the first network with the second."""
    first, second = (spec.name for spec in found.groups["nets"][:2])
    frames = []
    for layer in found.layers[:SHOWN_LAYERS]:
        matching = matchings[layer]
        ranked = np.flatnonzero(matching.columns >= 0)
        ranked = ranked[np.argsort(-matching.values[ranked], kind="stable")]
        chosen = (
            ranked[np.unique(np.linspace(0, len(ranked) - 1, PAIRS_SHOWN).round().astype(int))] if len(ranked) else []
        )
        a, b = (found.samples(layer, network) for network in (0, 1))
        for unit in chosen:
            partner = matching.columns[unit]
            frames.append(
                pd.DataFrame(
                    {
                        "layer": layer,
                        "net_a": first,
                        "net_b": second,
                        "unit_a": unit,
                        "unit_b": partner,
                        "correlation": matching.values[unit],
                        "sample": np.arange(len(a)),
                        "value_a": a[:, unit],
                        "value_b": b[:, partner],
                    }
                )
            )
    empty = tables.BY_NAME["joint_activations"].schema.empty_table().to_pandas()
    return pd.concat(frames) if frames else empty
