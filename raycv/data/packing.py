"""Arrays that xarray and netCDF store packed: integers with a scale and an offset, and a value for what is missing."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKED = ("scale_factor", "add_offset", "_FillValue", "missing_value")


@dataclass
class Unpacked:
    """An array whose values are stored as ``scale`` * stored + ``offset``, and are NaN where stored is ``missing``."""

    stored: Any
    scale: float
    offset: float
    missing: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, units and what follows."""
        return tuple(self.stored.shape)

    dtype = np.dtype(np.float64)

    def __getitem__(self, wanted: slice) -> NDArray[np.float64]:
        stored = np.asarray(self.stored[wanted])
        values = stored.astype(np.float64) * self.scale + self.offset
        for missing in self.missing:
            values[stored == missing] = np.nan
        return values


def unpacked(stored: Any, attributes: Mapping[str, Any], fill: Any = None) -> Any:
    """The array as its ``attributes`` say, ``stored`` itself where they say nothing; ``fill``: a value that is missing.

    See "Packed data" and "Missing data" in the CF conventions.
    """
    given = {name: attributes[name] for name in PACKED if name in attributes}
    missing = [_number(given[name], stored.dtype) for name in PACKED[2:] if name in given]
    missing += [] if fill is None else [fill]
    missing = [value for value in missing if value == value]  # NaN is missing as it stands
    scale, offset = (
        float(np.asarray(given.get(name, usual)).item()) for name, usual in zip(PACKED, (1, 0), strict=False)
    )
    if (scale, offset) == (1, 0) and not missing:
        return stored
    return Unpacked(stored, scale, offset, tuple(missing))


def _number(value: Any, dtype: Any) -> Any:
    """A missing value; zarr 3 has that of floating-point numbers as eight bytes in base64."""
    if isinstance(value, str):
        value = struct.unpack("<d", base64.standard_b64decode(value))[0] if dtype.kind == "f" else int(value)
    return np.asarray(value).astype(dtype).item() if np.size(value) == 1 else value
