"""The tables that `raycv stitch` writes."""

from __future__ import annotations

from raycv.run.schema.columns import CHANGE, FLOAT, LAYER, LOSS, TEXT, TOP1, over_networks
from raycv.run.schema.table import Column, Table

TABLES = (
    Table(
        "stitching",
        "stitch",
        "networks whose layers up to one are another network's, one row per layer, pair and way of joining them",
        (
            LAYER,
            Column("source_net", TEXT, "network of which the layers up to this one are"),
            Column("target_net", TEXT, "network of which the layers after it are"),
            Column(
                "way",
                TEXT,
                "matching (each unit is its one-to-one partner, with its own mean and standard deviation), mapping "
                "(mapping layer of this decay), rescaled (the same, with every unit's own standard deviation) or mean "
                "(every unit is its mean: nothing is passed on)",
            ),
            Column("decay", FLOAT, "the paper's L1 weight decay; 0 is least squares; null without a mapping layer"),
            Column("units_used", FLOAT, "source units with a weight above 0.001, mean over target units"),
            Column(
                "prediction_loss",
                FLOAT,
                "half the mean squared error of the target's z-scores on images that were not fitted; 0.5: nothing",
            ),
            LOSS,
            TOP1,
            *CHANGE,
        ),
    ),
    Table(
        "stitching_by_layer",
        "stitch",
        "the same, means over source networks and then over target networks",
        (
            LAYER,
            Column("way", TEXT, "matching, mapping, rescaled or mean, as in stitching"),
            Column("decay", FLOAT, "the paper's L1 weight decay; null without a mapping layer"),
            *over_networks("units_used", "source units with a weight above 0.001"),
            *over_networks("prediction_loss", "as in stitching"),
            *over_networks("loss_change", "loss less that of the target network, nats"),
            *over_networks("top1_change", "top1 less that of the target network"),
        ),
    ),
)
