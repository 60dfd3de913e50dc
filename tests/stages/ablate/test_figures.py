"""The figure of what units do: its points are the table's rows."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.ablate.figures.ablation import what_units_do
from tests.support.effects import effect_tables

LAYERS = ("features.3", "classifier")


def test_groups_of_as_many_units_stand_side_by_side() -> None:
    rows = effect_tables(LAYERS, ("net1", "net2"))["ablation_by_layer"]
    rows = rows[(rows["quantity"] != "lonely_even") | (rows["layer"] != "classifier")]  # a layer without lonely units
    figure = what_units_do(rows)
    matched, recurring, single = figure.axes
    for axes, names in ((matched, ("matched", "unmatched")), (recurring, ("recurring", "lonely"))):
        lines = {line.get_label(): line for line in axes.lines}
        for name in names:
            expected = rows[rows["quantity"] == f"{name}_even"].set_index("layer")["value"].reindex(LAYERS)
            np.testing.assert_array_equal(np.asarray(lines[name].get_ydata(), dtype=float), expected)
    lines = {line.get_label(): line for line in single.lines}
    expected = rows[rows["quantity"] == "unit_loss_by_excess"]["value"]
    np.testing.assert_array_equal(np.asarray(lines["excess"].get_ydata(), dtype=float), expected)
    assert f"matched {rows[rows['quantity'] == 'matched_even']['value'].mean():.3f}" in figure.get_supxlabel()
    with pytest.raises(Undrawable, match="no rows"):
        what_units_do(rows[:0])
