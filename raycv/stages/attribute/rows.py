"""Rows of the tables attribution and attribution_cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from raycv.analysis.contrasts import contrast
from raycv.analysis.significance import q_values
from raycv.config import MAPPED_DECAY
from raycv.run import tables
from raycv.run.schema import COMPARED
from raycv.run.store import RunStore

SEMI = [("similarity", "==", "correlation"), ("method", "==", "semi")]
EXACT = [("solver", "==", "exact"), ("decay", "==", MAPPED_DECAY)]
OF_ALIGNMENT = ("prerelu_excess", "excess", "estimated_share")
PairValues = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Measured:
    """What the run of one cell says: by layer and measure the values of the pairs of networks that are compared.

    ``layers``: in order. ``train_loss`` and ``top1``: means over networks, NaN where they are not trained.
    """

    cell: str
    against: str | None
    layers: list[str]
    values: Mapping[tuple[str, str], PairValues]
    train_loss: float
    top1: float


def measured(store: RunStore, cell: str, against: str | None, *, apart: bool, is_mapped: bool) -> Measured:
    """Read the run of one cell.

    ``apart``: its networks are of two kinds in turn, and a pair of one kind is not compared. ``is_mapped``: the run has
    mapping layers.
    """
    alignment = tables.read(store, "alignment", filters=SEMI)
    alignment["correlation"] = alignment["excess"] + alignment["rotated_mean"]  # of absolute ones, as `mean` is not
    nets = sorted({*alignment["net_a"]}, key=lambda net: (len(net), net))
    side = {net: place % 2 for place, net in enumerate(nets)}
    values: dict[tuple[str, str], PairValues] = {}

    def add(frame: pd.DataFrame, layer: str, measure: str, a: str, b: str, column: str) -> None:
        for row in frame[[layer, a, b, column]].itertuples(index=False):
            if not apart or side[row[1]] != side[row[2]]:
                values.setdefault((str(row[0]), measure), {})[row[1], row[2]] = float(row[3])

    for measure in (*OF_ALIGNMENT, "correlation"):
        add(alignment, "layer", measure, "net_a", "net_b", measure)
    similar = tables.read(store, "measures", filters=[("measure", "==", "debiased_cka")])
    add(similar[similar["net_a"] != similar["net_b"]], "layer_a", "debiased_cka", "net_a", "net_b", "value")
    if is_mapped:
        mappings = tables.read(store, "mappings", filters=EXACT)
        add(mappings, "layer", "heldout_loss", "source_net", "target_net", "heldout_loss")
    last = pd.DataFrame(tables.last_epochs(store) if tables.exists(store, "training") else [])
    loss, top1 = (float(last[name].mean()) if len(last) else math.nan for name in ("train_loss", "validation_top1"))
    layers = [str(layer) for layer in dict.fromkeys(alignment["layer"])]
    return Measured(cell, against, layers, values, loss, top1)


def cell_rows(found: Sequence[Measured]) -> pd.DataFrame:
    """The rows of attribution_cells."""
    rows = []
    for one in found:
        for layer, measure in _ordered(one):
            pairs = one.values[layer, measure]
            mean = contrast(pairs)
            rows.append(
                {
                    "cell": one.cell,
                    "layer": layer,
                    "measure": measure,
                    "value": mean.value,
                    "low": mean.interval.low,
                    "high": mean.interval.high,
                    "p_value": mean.p_value,
                    "pairs": len({frozenset(pair) for pair in pairs}),
                    "networks": len({net for pair in pairs for net in pair}),
                    "train_loss": one.train_loss,
                    "validation_top1": one.top1,
                }
            )
    return pd.DataFrame(rows)


def contrast_rows(found: Sequence[Measured]) -> pd.DataFrame:
    """The rows of attribution: of layers that both cells have."""
    by_name, rows = {one.cell: one for one in found}, []
    for one in found:
        if one.against is None:
            continue
        other = by_name[one.against]
        for layer, measure in _ordered(one):
            if (layer, measure) in other.values:
                difference = contrast(one.values[layer, measure], other.values[layer, measure])
                rows.append(
                    {
                        "layer": layer,
                        "cell": one.cell,
                        "against": other.cell,
                        "measure": measure,
                        "difference": difference.value,
                        "low": difference.interval.low,
                        "high": difference.interval.high,
                        "p_value": difference.p_value,
                    }
                )
    frame = pd.DataFrame(rows, columns=[*_COLUMNS])
    frame["q_value"] = np.nan
    for _, of_measure in frame.groupby("measure"):
        frame.loc[of_measure.index, "q_value"] = q_values(of_measure["p_value"])
    return frame


_COLUMNS = ("layer", "cell", "against", "measure", "difference", "low", "high", "p_value")


def _ordered(one: Measured) -> list[tuple[str, str]]:
    """Layers and measures of which there is a value."""
    keys = [(layer, measure) for layer in one.layers for measure in COMPARED]
    return [key for key in keys if key in one.values and not all(map(math.isnan, one.values[key].values()))]
