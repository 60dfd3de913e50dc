"""Which pixels of its input a position of a layer sees, for any network: found by experiment.

A pixel row of NaN makes exactly those rows of a layer NaN that see it: NaN passes through products with zero,
rectification, max pooling and normalisation. So no rule for any kind of module is needed, and borders, strides,
paddings and branches are as the network has them. A position that sees separate pixels gets the box around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from raycv.networks.models import build
from raycv.networks.places import PlacedTaps, taps_of
from raycv.networks.spec import WIDTHS, NetworkSpec
from raycv.networks.taps import Taps

AT_ONCE = 32  # inputs forwarded together


@dataclass(frozen=True)
class ReceptiveFields:
    """Of one layer with H x W positions: rows (H, 2) and columns (W, 2), the first pixel seen and that after the last.

    A fully connected layer has one position, which sees everything. Tokens of a transformer count as one row of
    positions that each see what any of them does; a position that sees padding alone is given the whole input.
    """

    rows: np.ndarray
    columns: np.ndarray

    def boxes(self, position: np.ndarray) -> dict[str, np.ndarray]:
        """row, column, top, left, bottom and right of positions (n,), counted row by row."""
        row, column = np.divmod(position, len(self.columns))
        return {
            "row": row,
            "col": column,
            "y0": self.rows[row, 0],
            "x0": self.columns[column, 0],
            "y1": self.rows[row, 1],
            "x1": self.columns[column, 1],
        }


def receptive_fields(spec: NetworkSpec) -> dict[str, ReceptiveFields]:
    """The receptive fields of every layer of ``spec``, clipped to its input."""
    # They depend neither on the weights nor, in an AlexNet, on the number of channels.
    alike: dict[str, object] = {"name": "", "seed": 0} | ({"width": 3} if spec.model in WIDTHS else {})
    return _receptive_fields(spec.model_copy(update=alike))


@lru_cache
def _receptive_fields(spec: NetworkSpec) -> dict[str, ReceptiveFields]:
    return trace(taps_of(build(spec), spec), spec.preprocessing.crop)


def trace(taps: Taps | PlacedTaps[str], extent: int) -> dict[str, ReceptiveFields]:
    """The receptive fields of every layer tapped, in an input of ``extent`` x ``extent`` pixels."""
    seen: dict[str, list[list[np.ndarray]]] = {layer: [[], []] for layer in taps.layers}
    for axis in (0, 1):
        for start in range(0, extent, AT_ONCE):
            lines = range(start, min(start + AT_ONCE, extent))
            inputs = torch.zeros(len(lines), 3, extent, extent)
            for n, line in enumerate(lines):
                inputs[n].select(1 + axis, line).fill_(torch.nan)
            # NNPACK, where there is no oneDNN, transforms whole tiles for a convolution and would spread the NaN.
            with torch.backends.nnpack.flags(enabled=False):
                found = taps(inputs.to(memory_format=torch.channels_last))
            for layer, values in found.items():
                seen[layer][axis].append(_positions(values, axis))
    return {layer: ReceptiveFields(*(_spans(np.concatenate(parts)) for parts in axes)) for layer, axes in seen.items()}


def _positions(values: Tensor, axis: int) -> np.ndarray:
    """(inputs, rows or columns): which of a layer's rows or columns saw a NaN."""
    saw = values.isnan().any(1)
    if saw.ndim < 3:  # neurons and tokens have no rows and columns
        saw = saw.reshape(len(saw), 1, -1)
        saw = saw.any(2, keepdim=True).expand_as(saw)
    return saw.any(2 - axis).numpy()


def _spans(seen: np.ndarray) -> np.ndarray:
    """(n, 2): of ``seen`` (pixels, n) the first pixel and the one after the last; where it is none, of all."""
    seen = seen | ~seen.any(0)
    return np.stack([seen.argmax(0), len(seen) - seen[::-1].argmax(0)], 1)
