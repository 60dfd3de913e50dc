"""The tables that `raycv merge` writes."""

from __future__ import annotations

from raycv.run.schema.columns import FLOAT, LOSS, TEXT, TOP1
from raycv.run.schema.table import Column, Table

TABLES = (
    Table(
        "merges",
        "merge",
        "networks made of several, one row per way of merging and point of the path between two networks",
        (
            Column("nets", TEXT, "the networks, with hyphens between them; the others are permuted to the first"),
            Column(
                "matching",
                TEXT,
                "what brought units beside one another: correlation, information (mutual) or weights; groups of units "
                "without a compared layer are matched by weights in any case",
            ),
            Column("up_to", TEXT, "last layer that was merged; empty for whole networks"),
            Column("head", TEXT, "with up_to, the network whose own layers follow; else empty"),
            Column(
                "method",
                TEXT,
                "naive (weights averaged as they are), permuted (first permuted), repaired (and the moments of what "
                "goes into the non-linearities set to the networks' average, by a pass over the validation images), "
                "repaired_closed (the same from the networks' own moments), zipped (units paired within and across "
                "both networks), zipped_repaired",
            ),
            Column("alpha", FLOAT, "share of the second network; null for three or more, which have equal shares"),
            LOSS,
            TOP1,
            Column(
                "loss_excess",
                FLOAT,
                "loss less the mean of the networks' own losses, weighted by their shares; with up_to, less that of "
                "the head's network, nats",
            ),
            Column("barrier", FLOAT, "largest loss_excess of this method over all alphas, the same in all its rows"),
            Column(
                "permuted_error",
                FLOAT,
                "largest absolute difference between a logit of a permuted network and of the network itself: "
                "rounding, or more where a local response normalisation mixes neighbouring channels; null for naive",
            ),
            Column("network", TEXT, "folder of the run that holds this network; empty where it was not kept"),
        ),
    ),
)
