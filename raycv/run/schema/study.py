"""The tables that `raycv study` writes."""

from __future__ import annotations

from raycv.run.schema.columns import FLOAT, INT, LAYER, TEXT
from raycv.run.schema.table import Column, Table

_GROWING = {
    "correlation": "largest absolute correlation of a unit with a unit of another network, mean over units and ordered "
    "pairs of networks",
    "excess": "correlation less the same with random mixtures of that network's units (alignment.excess)",
    "prerelu_excess": "correlation less the same with its units mixed before the ReLU (alignment.prerelu_excess)",
    "partner_share": "fraction of units with a partner in another network, mean over ordered pairs",
    "recurring_share": "fraction of units with partners in all other networks",
}
GROWING = tuple(_GROWING)  # the quantities that a study follows

TABLES = (
    Table(
        "study",
        "study",
        "how much networks converge, one row per width, number of training images and layer; semi-matching",
        (
            Column("width", INT, "units in conv1 of every network"),
            Column("images", INT, "training images of every network"),
            LAYER,
            Column("units", INT, "units of the layer in every network"),
            *(
                column
                for name, meaning in _GROWING.items()
                for column in (
                    Column(name, FLOAT, meaning),
                    Column(
                        f"{name}_low",
                        FLOAT,
                        "lower end of its 95% jackknife interval over networks; null for fewer than three networks",
                    ),
                    Column(f"{name}_high", FLOAT, "upper end of that interval"),
                )
            ),
            Column("untrained_excess", FLOAT, "excess between untrained networks of this width"),
            Column("untrained_prerelu_excess", FLOAT, "prerelu_excess between untrained networks of this width"),
            Column("validation_top1", FLOAT, "fraction of validation images classified correctly, mean over networks"),
        ),
    ),
    Table(
        "study_slopes",
        "study",
        "what a doubling of the width or of the training images adds, one row per layer, quantity and setting",
        (
            LAYER,
            Column("quantity", TEXT, f"column of the table study: {', '.join(GROWING)}"),
            Column("against", TEXT, "width or images; a setting that the study does not vary has no rows"),
            Column(
                "slope",
                FLOAT,
                "least-squares slope against log2 of this setting, with the other in the fit where both vary",
            ),
            Column(
                "low",
                FLOAT,
                "lower end of its 95% interval over the choice of networks, a jackknife that leaves out one network of "
                "one combination at a time; null for fewer than three networks",
            ),
            Column("high", FLOAT, "upper end of that interval; it does not cover a bend of the curve"),
        ),
    ),
)
