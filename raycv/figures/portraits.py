"""What a unit looks for, as one small picture: its nine top patches and what drives it in them, or its filter."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

_CELL, _GAP = 48, 3  # pixels: of one patch of a block of 3 x 3, and between two
_GREY = 128


def portrait(
    net: str, unit: int, patches: pd.DataFrame | None, filters: Mapping[str, np.ndarray] | None
) -> Picture | None:
    """(H, W, 3): the unit's top patches, 3 x 3, and right of them what drives it in each; else its filter; else None.

    ``patches``: rows of the table patch_pictures of the unit's layer. ``filters``: network -> (S, 3, H, W), scaled here
    from the smallest to the largest weight.
    """
    if patches is not None:
        rows = patches[(patches["net"] == net) & (patches["unit"] == unit)].sort_values("rank")
        if len(rows):
            sides = [_block(rows["patch"].tolist()), _block(rows["drive"].tolist())]
            between = np.full((len(sides[0]), 3 * _GAP, 3), 255, dtype=np.uint8)
            return np.concatenate([sides[0], between, sides[1]], axis=1)
    if filters is not None and net in filters:
        kernel = np.asarray(filters[net][unit], dtype=np.float64).transpose(1, 2, 0)
        low, spread = kernel.min(), np.ptp(kernel)
        scaled = (kernel - low) / spread * 255 if spread else np.full(kernel.shape, _GREY)
        return scaled.astype(np.uint8)
    return None


def draw_portrait(axes: Axes, picture: Picture | None) -> None:
    """Put a portrait into a panel without scales; an absent one leaves it empty."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if picture is not None:
        axes.imshow(picture, interpolation="nearest")


def what_is_shown(patches: pd.DataFrame | None, filters: Mapping[str, np.ndarray] | None) -> str:
    """A sentence for a caption."""
    if patches is not None and len(patches):
        return f"Pictures: a unit's nine top patches and, right of them, what drives it ({patches['method'].iloc[0]})."
    if filters:
        return "Pictures: a unit's filter, scaled from its smallest to its largest weight."
    return ""


def _block(pictures: list[bytes]) -> Picture:
    """Up to nine pictures as rows of three, all at the scale at which the largest fills its cell."""
    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in pictures[:9]]
    scale = _CELL / max(max(image.size) for image in images)
    side = 3 * _CELL + 2 * _GAP
    block = np.full((side, side, 3), 255, dtype=np.uint8)
    for place, image in enumerate(images):
        width, height = (max(1, round(length * scale)) for length in image.size)
        # A patch of a few pixels shall show its pixels; a large one must not alias.
        resized = image.resize((width, height), Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
        top = place // 3 * (_CELL + _GAP) + (_CELL - height) // 2
        left = place % 3 * (_CELL + _GAP) + (_CELL - width) // 2
        block[top : top + height, left : left + width] = np.asarray(resized)
    return block
