"""What `raycv study` says at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

SHOWN = {
    "excess": "excess, after",
    "prerelu_excess": "excess, before",
    "partner_share": "partner share",
    "recurring_share": "recurring share",
}
SLOPE, BEYOND = ("slope", "low", "high"), ("beyond", "beyond_low", "beyond_high")
SETTINGS = {"width": "width", "images": "number of training images"}


def summary(slopes: pd.DataFrame) -> str:
    """The slopes of the table study_slopes, one small table for each setting, for a person."""
    lines = []
    for against, rows in slopes.groupby("against", sort=False):
        lines.append(
            f"what a doubling of the {SETTINGS[str(against)]} adds, with its 95% interval over networks; to an"
        )
        lines.append("excess beyond what it adds where units share as much before as after, to a share in all")
        lines.append(f"  {'layer':<12}" + "".join(f"{name:>26}" for name in SHOWN.values()))
        for layer, of_layer in rows.groupby("layer", sort=False):
            cells = dict(zip(of_layer["quantity"], of_layer.to_dict("records"), strict=True))
            lines.append(f"  {layer:<12}" + "".join(f"{_cell(cells[name]):>26}" for name in SHOWN))
    lines += [
        "excess: correlation of units with their best partner in another network, over random mixtures of its units,",
        "mixed after the ReLU or before it; shares: of units with a partner in another network, and in all others",
    ]
    return "\n".join(lines)


def _cell(row: Mapping[Any, Any]) -> str:
    slope, low, high = (row[name] for name in (SLOPE if str(row["quantity"]).endswith("share") else BEYOND))
    if pd.isna(slope):
        return "-"
    return f"{slope:+z.3f} ({low:+z.3f}, {high:+z.3f})" if pd.notna(low) else f"{slope:+z.3f}"
