"""The tables that `raycv train` writes."""

from __future__ import annotations

from raycv.run.schema.columns import FLOAT, INT, NET
from raycv.run.schema.table import Column, Table

TABLES = (
    Table(
        "training",
        "train",
        "progress of training, one row per network and epoch",
        (
            NET,
            Column("seed", INT, "seed of the initial weights and of the order of images"),
            Column("epoch", INT, "number of the epoch, from 1; an epoch is one pass over the training images"),
            Column("train_loss", FLOAT, "mean cross-entropy over the epoch's training images, or bytes of texts, nats"),
            Column("validation_loss", FLOAT, "mean cross-entropy over the validation images, or bytes, nats"),
            Column(
                "validation_top1",
                FLOAT,
                "fraction of validation images classified correctly; of language models bytes told from those before",
            ),
            Column("seconds", FLOAT, "duration of the epoch, seconds"),
        ),
    ),
)
