"""Into how many folds of the images the moments of a layer are kept."""

from __future__ import annotations

from raycv.analysis.nulls import WIDE

FOLDS = 8
FOLDS_OF_WIDE = 2  # for layers wider than WIDE, whose moments are large


def folds_of(width: int) -> int:
    """Into how many folds the moments of a layer with ``width`` units in its widest network are kept."""
    return FOLDS if width <= WIDE else FOLDS_OF_WIDE
