"""Rows of the tables top_patches and sampled_images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raycv.analysis.top_patches import TopPatches
from raycv.data.preprocessing import Preprocessing, centre
from raycv.data.sources import Source
from raycv.networks.receptive import receptive_fields
from raycv.stages.patches.pictures import encoded
from raycv.statistics.reader import Statistics

AT_ONCE = 64  # images decoded together


def top_patches(found: Statistics) -> pd.DataFrame:
    """The samples of highest activation of every unit, from what the pass has kept, and the pixels that each sees."""
    fields = {spec.name: receptive_fields(spec) for spec in found.networks if spec.sees_images}
    frames = []
    for layer in found.layers:
        arrays = found.patches(layer)
        for number, spec in enumerate(found.networks):
            if not spec.sees_images:
                continue
            top = TopPatches.from_arrays(arrays, str(number))
            unit, rank = np.nonzero(top.image >= 0)
            boxes = fields[spec.name][layer].boxes(top.position[unit, rank].astype(np.int64))
            about = {"net": spec.name, "layer": layer, "unit": unit, "rank": rank + 1}
            frames.append(
                pd.DataFrame(about | {"image": top.image[unit, rank], "value": top.value[unit, rank]} | boxes)
            )
    return pd.concat(frames)


def sampled_images(source: Source, preprocessing: Preprocessing, numbers: Sequence[int]) -> pd.DataFrame:
    """What a network with that ``preprocessing`` gets of the images of ``numbers``, in their order."""
    start = centre(preprocessing.resize, preprocessing.crop, preprocessing.middle)
    seen = slice(start, start + preprocessing.crop)
    frames = []
    for first in range(0, len(numbers), AT_ONCE):
        part = np.array(numbers[first : first + AT_ONCE])
        pixels, labels = source.decode(part, preprocessing.resizing)
        pictures = [encoded(picture) for picture in pixels[:, seen, seen]]
        about = {"place": first + np.arange(len(part)), "image": part, "label": labels}
        frames.append(pd.DataFrame(about | {"picture": pictures}))
    return pd.concat(frames)
