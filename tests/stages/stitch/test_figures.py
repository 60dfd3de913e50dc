"""The figure of stitched networks: its lines are the table's rows."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.stitch.figures.stitching import stitched
from tests.support.effects import effect_tables

LAYERS = ("features.3", "classifier")


def test_a_line_for_every_layer() -> None:
    rows = effect_tables(LAYERS, ("net1", "net2"))["stitching_by_layer"]
    figure = stitched(rows)
    sparse, lossy = figure.axes
    for axes, column in ((sparse, "units_used"), (lossy, "prediction_loss")):
        lines = {line.get_label(): line for line in axes.lines}
        for layer in LAYERS:
            mine = rows[(rows["layer"] == layer) & (rows["way"] == "mapping")].sort_values("decay")
            np.testing.assert_array_equal(lines[layer].get_xdata(), mine[column])
            np.testing.assert_allclose(np.asarray(lines[layer].get_ydata(), dtype=float), 100 * mine["top1_change"])
    dense = rows[(rows["way"] == "mapping") & (rows["decay"] == 0)].set_index("layer")["top1_change"]
    assert f"{100 * dense.min():+.1f} ({dense.idxmin()})" in figure.get_supxlabel().replace("\n", " ")
    with pytest.raises(Undrawable, match="no mapping layers"):
        stitched(rows[rows["way"] == "mean"])
