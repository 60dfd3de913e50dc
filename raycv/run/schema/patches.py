"""The tables that `raycv patches` writes."""

from __future__ import annotations

import pyarrow as pa

from raycv.paper import TOP_PATCHES
from raycv.run.schema.columns import FLOAT, INT, LAYER, NET, NUMBER, TEXT, UNIT
from raycv.run.schema.table import Column, Table

SAMPLED = 500  # images in which the activations of all units are kept
MOST_SAMPLED = 1_000_000  # of those activations in a layer of one network
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
        "contexts",
        "patches",
        "of language models: the nine tokens with the highest activation of every unit, with the text around them",
        (
            NET,
            UNIT,
            _rank,
            Column("document", INT, "number of the document, among those that are long enough"),
            Column("place", INT, "which of the tokens that the network sees of it, from 0"),
            Column("value", FLOAT, "activation of the unit"),
            Column(
                "before", TEXT, "text of up to twelve tokens before it, or their ids where the network has no tokenizer"
            ),
            Column("token", TEXT, "text of the token"),
            Column("after", TEXT, "text of up to twelve tokens after it"),
        ),
        partition="layer",
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
    Table(
        "sampled_images",
        "patches",
        "validation images drawn at random, in which the activation of every unit is kept: the same for all networks",
        (
            Column(
                "place", INT, "place in the order in which they were drawn, from 0; wide layers have the first ones"
            ),
            Column("image", INT, "number of the validation image"),
            Column("label", INT, "class of the image, from 0"),
            Column(
                "picture",
                pa.binary(),
                f"WebP picture of what the first network gets of it, at most {LARGEST_PICTURE} pixels a side",
            ),
        ),
    ),
    Table(
        "sampled_activations",
        "patches",
        f"the highest activation of every unit in each of the sampled images: in {SAMPLED} of them, fewer in layers of "
        f"more than {MOST_SAMPLED // SAMPLED:,} units",
        (
            NET,
            UNIT,
            Column("image", NUMBER, "number of the validation image"),
            Column("value", pa.float32(), "highest activation of the unit at any position of the image"),
            Column(
                "top_edge",
                pa.float32(),
                "upper end of what the unit sees from the first position with that activation, as a fraction of the "
                "height of the network's input",
            ),
            Column("left_edge", pa.float32(), "left end of it, as a fraction of the width"),
            Column("bottom_edge", pa.float32(), "lower end of it"),
            Column("right_edge", pa.float32(), "right end of it"),
        ),
        partition="layer",
    ),
)
