"""The tables that `raycv ensemble` writes."""

from __future__ import annotations

from raycv.run.schema.columns import FLOAT, INT, LAYER, LOSS, NET_A, TEXT, TOP1
from raycv.run.schema.table import Column, Table

TABLES = (
    Table(
        "ensembles",
        "ensemble",
        "networks that vote by the mean of their class probabilities, one row per set of networks",
        (
            Column("nets", TEXT, "the networks, with commas"),
            Column("size", INT, "number of networks"),
            LOSS,
            TOP1,
            Column("member_loss", FLOAT, "mean loss of the networks alone, nats"),
            Column("member_top1", FLOAT, "mean top1 of the networks alone"),
            Column("top1_gain", FLOAT, "top1 - member_top1"),
            Column("loss_gain", FLOAT, "member_loss - loss, nats"),
        ),
    ),
    Table(
        "ensemble_agreement",
        "ensemble",
        "how alike the units of the networks of an ensemble are, one row per set of two or more networks and layer",
        (
            Column("nets", TEXT, "the networks, with commas"),
            LAYER,
            Column(
                "agreement",
                FLOAT,
                "correlation of a unit with its best partner, mean over units and ordered pairs of the networks",
            ),
            Column("excess", FLOAT, "the same less that with rotated units (alignment.excess)"),
        ),
    ),
    Table(
        "combinations",
        "ensemble",
        "linear read-outs of the units of one or two networks, fitted on training images",
        (
            LAYER,
            NET_A,
            Column("net_b", TEXT, "second network of the pair; the same as net_a where it is alone"),
            Column(
                "way",
                TEXT,
                "alone; ensemble (mean class probabilities of the two read-outs alone); both (all units of both); "
                "matched (of the pairs that correlate most one unit is left out); redundancy (left out is what the "
                "other units of both predict best); random (left out at random)",
            ),
            Column("draw", INT, "number of the random choice, from 0"),
            Column("units", INT, "units that are read out"),
            Column("penalty", FLOAT, "L2 penalty of the read-out, chosen on a fifth of the training images"),
            LOSS,
            TOP1,
        ),
    ),
)
