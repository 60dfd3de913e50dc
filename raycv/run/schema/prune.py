"""The tables that `raycv prune` writes."""

from __future__ import annotations

from raycv.run.schema.columns import BOOL, CHANGE, FLOAT, INT, LAYER, LOSS, NET, TEXT, TOP1, over_networks
from raycv.run.schema.table import Column, Table

_order = Column(
    "removal_order",
    TEXT,
    "which units go first: partner_low and partner_high (by the correlation with the best partner, mean over the other "
    "networks, lowest or highest first), excess_low (the same less that with rotated units, lowest first), redundancy "
    "(what the units still there predict best), weights (smallest sum of absolute incoming weights), activation "
    "(smallest mean activation), random; units without such a value, dead or rare, count as lowest",
)
_removal = (
    Column("fraction", FLOAT, "fraction of the layer's units that was asked for"),
    Column(
        "compensated",
        BOOL,
        "the units that stay predict the removed ones linearly, by a fit on the other folds of the images",
    ),
)

TABLES = (
    Table(
        "pruning",
        "prune",
        "networks without some of the units of one layer, one row per layer, network, order, draw and fraction, with "
        "and without compensation",
        (
            LAYER,
            NET,
            _order,
            Column("draw", INT, "number of the random order, from 0; 0 for the other orders"),
            *_removal,
            Column("removed", INT, "number of units removed"),
            LOSS,
            TOP1,
            *CHANGE,
        ),
    ),
    Table(
        "pruning_by_layer",
        "prune",
        "the same, means over networks and draws",
        (
            LAYER,
            _order,
            *_removal,
            *over_networks("loss_change", "loss less that of the whole network, nats"),
            *over_networks("top1_change", "top1 less that of the whole network"),
        ),
    ),
)
