"""Rows of the table top_patches."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raycv.analysis.top_patches import TopPatches
from raycv.networks.receptive import receptive_fields
from raycv.statistics.reader import Statistics


def top_patches(found: Statistics) -> pd.DataFrame:
    """The samples of highest activation of every unit, from what the pass has kept, and the pixels that each sees."""
    fields = {spec.name: receptive_fields(spec) for spec in found.networks if not spec.is_recorded}
    frames = []
    for layer in found.layers:
        arrays = found.patches(layer)
        for number, spec in enumerate(found.networks):
            if spec.is_recorded:  # without images
                continue
            top = TopPatches.from_arrays(arrays, str(number))
            unit, rank = np.nonzero(top.image >= 0)
            boxes = fields[spec.name][layer].boxes(top.position[unit, rank].astype(np.int64))
            about = {"net": spec.name, "layer": layer, "unit": unit, "rank": rank + 1}
            frames.append(
                pd.DataFrame(about | {"image": top.image[unit, rank], "value": top.value[unit, rank]} | boxes)
            )
    return pd.concat(frames)
