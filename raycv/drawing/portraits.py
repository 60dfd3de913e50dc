"""What single units look for, to be set into the figures of mapping layers: blocks of top patches, or filters."""

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
    """Where the pictures of a layer's units come from.

    ``patches`` and ``pictures``: the tables top_patches and patch_pictures; without them ``filters``: network ->
    (S, 3, H, W) of this layer; without both there are none.
    """

    patches: pd.DataFrame | None = None
    pictures: pd.DataFrame | None = None
    filters: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, layer: str, units: Sequence[tuple[str, int]]) -> Blocks:
        """A picture (H, W, 3) of each (net, unit), or nothing. Raises Undrawable as `raycv.drawing.montage.blocks`."""
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
    """Set the pictures of the units ``shown``, where there are any, into ``panels``; further panels stay empty."""
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, unit in zip(panels, shown, strict=False):
        if unit in pictures:
            axes.imshow(pictures[unit], interpolation="nearest")
