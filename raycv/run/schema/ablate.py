"""The tables that `raycv ablate` writes."""

from __future__ import annotations

from raycv.run.schema.columns import CHANGE, FLOAT, INT, LAYER, LOSS, NET, TEXT, TOP1, UNIT, over_networks
from raycv.run.schema.table import Column, Table

_group = Column(
    "unit_group",
    TEXT,
    "matched (a mutual best partner in another network, see recurrence.mutual) and unmatched (none); recurring (a "
    "partner beyond chance in all other networks) and lonely (in none); dead and rare units are in none of them",
)
_of_group = Column(
    "choice",
    TEXT,
    "whole (the group), even (as many of its units as the smaller one of matched and unmatched, or of recurring and "
    "lonely, has; drawn at random) or random (as many of all live units as the whole group)",
)

TABLES = (
    Table(
        "ablations",
        "ablate",
        "networks with the units of one group at their mean activation, one row per layer, network and group",
        (
            LAYER,
            NET,
            _group,
            _of_group,
            Column("draw", INT, "number of the random choice, from 0"),
            Column("units", INT, "number of units in it"),
            LOSS,
            TOP1,
            *CHANGE,
        ),
    ),
    Table(
        "ablation_classes",
        "ablate",
        "the same class by class",
        (
            LAYER,
            NET,
            _group,
            _of_group,
            Column("draw", INT, "number of the random choice, from 0"),
            Column("label", INT, "class of the images, from 0"),
            Column("images", INT, "number of its validation images"),
            *CHANGE,
        ),
    ),
    Table(
        "unit_ablations",
        "ablate",
        "networks with one unit at its mean activation, one row per unit of the layers that are not too wide",
        (
            LAYER,
            NET,
            UNIT,
            *CHANGE,
            Column("label", INT, "class whose loss rises most"),
            Column("label_loss_change", FLOAT, "mean rise of the loss over the images of that class, nats"),
        ),
    ),
    Table(
        "ablation_by_layer",
        "ablate",
        "what groups of units do, means over networks, one row per layer and quantity",
        (
            LAYER,
            Column(
                "quantity",
                TEXT,
                "GROUP: rise of the loss without the units of the group; GROUP_excess: that less the rise without as "
                "many random units; unit_loss_by_COLUMN: rank correlation within a network of the rise without one "
                "unit with the unit's value (partner: correlation with its best partner; excess; partners; mean; std; "
                "partner_given_std: with partner, partial to std), over units that are neither dead nor rare",
            ),
            Column("units", FLOAT, "units of the group, mean over networks; null for rank correlations"),
            *over_networks("value", "mean over networks"),
        ),
    ),
)
