"""The tables that `raycv patches` writes."""

from __future__ import annotations

import pyarrow as pa

from raycv.paper import TOP_PATCHES
from raycv.run.schema.columns import FLOAT, INT, LAYER, NET, TEXT, UNIT
from raycv.run.schema.table import Column, Table

LARGEST_PICTURE = 96  # pixels; pictures of larger receptive fields are scaled down to this
_rank = Column("rank", INT, f"from 1, the sample with the highest activation, to {TOP_PATCHES}")

TABLES = (
    Table(
        "top_patches",
        "patches",
        "the nine samples with the highest activation of every unit, from nine images, and what the unit sees of each",
        (
            NET,
            LAYER,
            UNIT,
            _rank,
            Column("image", INT, "number of the validation image"),
            Column("row", INT, "row of the position in the layer; 0 in a fully connected layer"),
            Column("col", INT, "column of the position in the layer; 0 in a fully connected layer"),
            Column("value", FLOAT, "activation of the unit"),
            Column("y0", INT, "first pixel row of the receptive field in the network's input, clipped at the border"),
            Column("x0", INT, "first pixel column of it"),
            Column("y1", INT, "pixel row after its last"),
            Column("x1", INT, "pixel column after its last"),
        ),
    ),
    Table(
        "patch_pictures",
        "patches",
        "pictures of the top patches, and of what in them drives the unit",
        (
            NET,
            UNIT,
            _rank,
            Column("label", INT, "class of the image, from 0"),
            Column("method", TEXT, "how drive was made: deconvnet, guided backpropagation or gradient"),
            Column(
                "patch", pa.binary(), f"WebP picture of the receptive field, at most {LARGEST_PICTURE} pixels a side"
            ),
            Column("drive", pa.binary(), "WebP picture of what drives the unit in the patch; grey where nothing does"),
        ),
        partition="layer",
    ),
)
