"""The tables that `raycv attribute` writes."""

from __future__ import annotations

from raycv.run.schema.columns import FLOAT, INT, LAYER, TEXT
from raycv.run.schema.table import Column, Table

_COMPARED = {
    "prerelu_excess": "alignment.prerelu_excess: correlation with the best partner less the same with units mixed "
    "before the non-linearity, the calibrated null; null in a layer that does not end in a known one",
    "excess": "alignment.excess: the same with units mixed after it",
    "estimated_share": "alignment.estimated_share of units that have a partner",
    "debiased_cka": "measures.debiased_cka",
    "correlation": "the largest absolute correlation itself",
    "heldout_loss": "mappings.heldout_loss at decay 0.001, only with --mapping; smaller is more alike",
}
COMPARED = tuple(_COMPARED)  # the measures of an attribution

_measure = Column("measure", TEXT, "; ".join(f"{name}: {meaning}" for name, meaning in _COMPARED.items()))
_cell = Column("cell", TEXT, "condition in which the networks were trained, and folder of its run in cells/")
_p = "Student's t with one degree of freedom fewer than there are networks, as if there were no other comparison"

TABLES = (
    Table(
        "attribution",
        "attribute",
        "how much more two networks are alike in one cell than in another, one row per layer, cell and measure",
        (
            LAYER,
            _cell,
            Column("against", TEXT, "cell that it is compared with, all else equal"),
            _measure,
            Column("difference", FLOAT, "mean over pairs of networks of the cell less that of the other one"),
            Column(
                "low",
                FLOAT,
                "lower end of its 95% jackknife interval over networks; those of one seed are left out on both sides "
                "at once, so that networks which both cells have, or which began alike, count once",
            ),
            Column("high", FLOAT, "upper end of that interval"),
            Column("p_value", FLOAT, f"probability of as large a difference where there is none: {_p}"),
            Column(
                "q_value",
                FLOAT,
                "false discovery rate (Benjamini & Hochberg, 1995) among all layers and cells of this measure",
            ),
        ),
    ),
    Table(
        "attribution_cells",
        "attribute",
        "how much the networks of every cell are alike, one row per cell, layer and measure",
        (
            _cell,
            LAYER,
            _measure,
            Column("value", FLOAT, "mean over pairs of networks; of cells with disjoint halves over pairs of both"),
            Column("low", FLOAT, "lower end of its 95% jackknife interval over networks"),
            Column("high", FLOAT, "upper end of that interval"),
            Column("p_value", FLOAT, f"probability of a value as far from 0 where it is 0: {_p}"),
            Column("pairs", INT, "number of pairs of networks that are compared, in either order"),
            Column("networks", INT, "number of networks that are compared"),
            Column("train_loss", FLOAT, "loss in the last epoch, nats, mean over networks; null if untrained"),
            Column(
                "validation_top1",
                FLOAT,
                "fraction of all validation images classified correctly, also of classes that a network was not "
                "trained on, mean over networks; null if untrained",
            ),
        ),
    ),
)
