"""Columns that the tables of several stages share."""

from __future__ import annotations

import pyarrow as pa

from raycv.run.schema.table import Column

TEXT, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
NUMBER = pa.int32()  # of units
NET = Column("net", TEXT, "network: net1, net2, ...")
LAYER = Column("layer", TEXT, "layer, as a module path; where it has several, with ~ between them (table layers)")
NET_A = Column("net_a", TEXT, "first network of the pair")
NET_B = Column("net_b", TEXT, "second network of the pair")
UNIT = Column("unit", NUMBER, "channel or neuron, from 0")


def over_networks(name: str, meaning: str) -> tuple[Column, ...]:
    """A mean over networks with its interval."""
    low = "lower end of its 95% jackknife interval over networks; null for fewer than three networks"
    return (
        Column(name, FLOAT, meaning),
        Column(f"{name}_low", FLOAT, low),
        Column(f"{name}_high", FLOAT, "upper end of that interval"),
    )


LOSS = Column("loss", FLOAT, "mean cross-entropy over the validation images, nats")
TOP1 = Column("top1", FLOAT, "fraction of validation images classified correctly")
CHANGE = (
    Column("loss_change", FLOAT, "loss less that of the whole network, nats"),
    Column("top1_change", FLOAT, "top1 less that of the whole network"),
)
