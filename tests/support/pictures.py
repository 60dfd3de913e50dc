"""Patches whose colour identifies their unit, as rows of the tables for patches and pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

SIZE = 40  # pixels of an uncut patch: large enough that no pixel is enlarged


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def colour(net: str, unit: int, rank: int, *, drive: bool = False) -> tuple[int, int, int]:
    """The one colour of a patch of ``patch_tables``: tells whose it is."""
    return int(net.removeprefix("net")), unit, 10 * rank + drive


def patch_tables(
    units: Iterable[tuple[str, int]], layer: str = "conv1", ranks: int = 9, size: int = SIZE
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of top_patches and patch_pictures with one colour per patch, none of them cut off."""
    boxes, pictures = [], []
    for net, unit in units:
        for rank in range(1, ranks + 1):
            boxes.append((net, layer, unit, rank, rank, 2, 3, 1.0, 4, 4, 4 + size, 4 + size))
            patch, drive = (
                png(np.full((size, size, 3), colour(net, unit, rank, drive=d), dtype=np.uint8)) for d in (False, True)
            )
            pictures.append((net, unit, rank, unit % 10, "deconvnet", patch, drive, layer))
    columns = ["net", "layer", "unit", "rank", "image", "row", "col", "value", "y0", "x0", "y1", "x1"]
    names = ["net", "unit", "rank", "label", "method", "patch", "drive", "layer"]
    return pd.DataFrame(boxes, columns=columns), pd.DataFrame(pictures, columns=names)


def shown(figure: Figure) -> list[tuple[float, float, int, int]]:
    """(top, left, net, unit) of every block, from the colour of its first patch; sorted as one reads."""
    found = []
    for image in figure.axes[0].images:
        left, _, _, top = image.get_extent()
        net, unit, _ = (int(value) for value in np.asarray(image.get_array())[0, 0])
        found.append((round(float(top), 3), round(float(left), 3), net, unit))
    return sorted(found)
