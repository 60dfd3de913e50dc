"""The tables that `raycv sweep mapping` writes."""

from __future__ import annotations

import pyarrow as pa

from raycv.run.schema.columns import BOOL, FLOAT, INT, LAYER, NUMBER, TEXT
from raycv.run.schema.table import Column, Table

_source = Column("source_net", TEXT, "network whose units predict")
_target = Column("target_net", TEXT, "network whose units are predicted")
_decay = Column("decay", FLOAT, "the paper's L1 weight decay")
_mapping = (
    _source,
    _target,
    Column(
        "solver",
        TEXT,
        "exact (LASSO optimum), sgd (the paper's training, in expectation) or streamed (the same training, on batches)",
    ),
    _decay,
)
_tree = (
    _source,
    _target,
    _decay,
    Column("reverse", BOOL, "the mapping layer back, target to source, is used for the other corner of B"),
)

TABLES = (
    Table(
        "mappings",
        "sweep mapping",
        "mapping layers of every ordered pair of networks, one row per layer, pair, solver and decay",
        (
            LAYER,
            *_mapping,
            Column(
                "sought",
                TEXT,
                "what this decay was searched for, such as units_used=4.7; empty if the decay was given",
            ),
            Column("alpha", FLOAT, "penalty of the ordinary LASSO on z-scores: decay x units of target_net"),
            Column("loss", FLOAT, "half the mean squared error of the target's z-scores; 0.5 predicts nothing"),
            Column("r2", FLOAT, "fraction of variance predicted, mean over target units"),
            Column("loss_median", FLOAT, "median of the loss over target units"),
            Column(
                "heldout_loss",
                FLOAT,
                "loss on images that were not fitted: half the mean squared error there, in units of the mean squared "
                "deviation there from the unit's mean in the images of the fit; 0.5 predicts nothing; mean over folds "
                "and target units; sgd: the last fold only",
            ),
            Column(
                "heldout_loss_low",
                FLOAT,
                "lower end of the 95% interval of heldout_loss over folds of the images; exact only",
            ),
            Column("heldout_loss_high", FLOAT, "upper end of that interval"),
            Column("heldout_loss_median", FLOAT, "median of the held-out loss over target units"),
            Column("heldout_loss_lower_quartile", FLOAT, "a quarter of the target units have a smaller held-out loss"),
            Column("heldout_loss_upper_quartile", FLOAT, "a quarter of the target units have a larger held-out loss"),
            Column("heldout_r2", FLOAT, "1 - 2 heldout_loss: fraction of variance predicted on those images"),
            Column("units_used", FLOAT, "number of source units with a weight above 0.001, mean over target units"),
            Column(
                "rotated_loss",
                FLOAT,
                "by chance: the loss with the source units randomly rotated, as z-scores, where units_used is the "
                "same; one rotation; exact only",
            ),
            Column(
                "prerelu_loss",
                FLOAT,
                "by chance: the same with the source units mixed before the non-linearity; null if the layer does not "
                "end in a known one; exact only",
            ),
            Column(
                "unpredicted", INT, "number of target units with less than 0.1 of their held-out variance predicted"
            ),
            Column(
                "duality_gap",
                FLOAT,
                "largest over target units; a bound on how far the objective is above its minimum",
            ),
            Column("seconds", FLOAT, "duration of the solver, shared equally among the decays, seconds"),
        ),
    ),
    Table(
        "mapping_weights",
        "sweep mapping",
        "the non-zero weights of the mapping layers",
        (
            *_mapping,
            Column("target_unit", NUMBER, "unit of target_net"),
            Column("source_unit", NUMBER, "unit of source_net"),
            Column(
                "weight",
                pa.float32(),
                "weight of the source unit's z-score; sgd and streamed: only weights above 0.001",
            ),
        ),
        partition="layer",
    ),
    Table(
        "mapping_units",
        "sweep mapping",
        "how well every target unit is predicted by the mapping layers",
        (
            *_mapping,
            Column("target_unit", NUMBER, "unit of target_net"),
            Column("r2", FLOAT, "fraction of its variance predicted; null if it is dead or rare"),
            Column("heldout_r2", FLOAT, "the same on images that were not fitted"),
            Column("units_used", FLOAT, "number of source units with a weight above 0.001"),
        ),
        partition="layer",
    ),
    Table(
        "agglomerations",
        "sweep mapping",
        "trees of the units of two networks, built from the weights of a mapping layer, one row per merge",
        (
            LAYER,
            *_tree,
            Column("merge", INT, "number of the merge, from 0; it makes the cluster numbered leaves + merge"),
            Column(
                "cluster_a",
                INT,
                "one of the merged clusters; the leaves are numbered target units first, then source units",
            ),
            Column("cluster_b", INT, "the other merged cluster"),
            Column("weight", FLOAT, "average weight between the two clusters"),
            Column("size", INT, "number of leaves in the new cluster"),
        ),
    ),
)
