"""Pictures of single units for the figures of mapping layers: blocks of top patches, or filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from raycv.drawing.filters import filter_pictures
from raycv.drawing.montage import Blocks, blocks, explained


@dataclass(frozen=True)
class Portraits:
    """The source of the pictures of a layer's units.

    Uses the tables ``patches`` (top_patches) and ``pictures`` (patch_pictures) if given, otherwise ``filters``:
    network -> (S, 3, H, W) of this layer. With neither there are no pictures.
    """

    patches: pd.DataFrame | None = None
    pictures: pd.DataFrame | None = None
    filters: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, layer: str, units: Sequence[tuple[str, int]]) -> Blocks:
        """A picture (H, W, 3) of each (net, unit), or nothing. Raises Undrawable as `montage.blocks` does."""
        if self.patches is not None and self.pictures is not None:
            return blocks(self.patches, self.pictures, layer, pd.DataFrame(units, columns=["net", "unit"]))
        shown = {net: (255 * filter_pictures(net, self.filters[net])).astype(np.uint8) for net in self.filters}
        return {(net, unit): shown[net][unit] for net, unit in units if net in shown}

    @property
    def caption(self) -> str:
        """What the pictures show."""
        if self.patches is not None and self.pictures is not None:
            return explained(self.pictures, 3)
        return "Pictures: a unit's filter, scaled from its smallest to its largest weight." if self.filters else ""


NONE = Portraits()


def draw_portraits(panels: Sequence[Axes], shown: Sequence[tuple[str, int]], pictures: Blocks) -> None:
    """Draw the pictures of the units ``shown``, if there are any, into ``panels``; the other panels stay empty."""
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, unit in zip(panels, shown, strict=False):
        if unit in pictures:
            axes.imshow(pictures[unit], interpolation="nearest")
