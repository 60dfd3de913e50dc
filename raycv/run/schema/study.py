"""The tables that `raycv study` writes."""

from __future__ import annotations

from raycv.run.schema.columns import FLOAT, INT, LAYER, TEXT
from raycv.run.schema.table import Column, Table

_GROWING = {
    "correlation": "largest absolute correlation of a unit with a unit of another network, mean over units and ordered "
    "pairs of networks",
    "excess": "correlation less the same with random mixtures of that network's units (alignment.excess)",
    "prerelu_excess": "correlation less the same with its units mixed before the non-linearity "
    "(alignment.prerelu_excess)",
    "partner_share": "fraction of units with a partner in another network, mean over ordered pairs",
    "recurring_share": "fraction of units with partners in all other networks",
}
GROWING = tuple(_GROWING)  # the quantities that a study follows
WITH_NULL = ("correlation", "excess", "prerelu_excess")  # those that width alone changes, as far as can be simulated


def _columns_of(name: str) -> list[Column]:
    columns = [
        Column(name, FLOAT, _GROWING[name]),
        Column(
            f"{name}_low",
            FLOAT,
            "lower end of its 95% jackknife interval over networks; null for fewer than three networks",
        ),
        Column(f"{name}_high", FLOAT, "upper end of that interval"),
    ]
    null = Column(
        f"{name}_null",
        FLOAT,
        "what it is between simulated networks of as many units and this effective dimension whose units share as much "
        "in every combination: so much that its mean over combinations is the measured one",
    )
    return [*columns, null] if name in WITH_NULL else columns


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
            Column("effective_dimension", FLOAT, "of the z-scores of its units, mean over networks"),
            *(column for name in GROWING for column in _columns_of(name)),
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
            Column(
                "null_slope",
                FLOAT,
                "the same of QUANTITY_null, what the setting adds where units share as much all along; null for shares",
            ),
            Column("beyond", FLOAT, "slope - null_slope: what it adds beyond that"),
            Column("beyond_low", FLOAT, "lower end of its 95% interval, which takes null_slope for known"),
            Column("beyond_high", FLOAT, "upper end of that interval"),
        ),
    ),
)
