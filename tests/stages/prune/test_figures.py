"""The figure of removed units: its lines are the table's rows."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.prune.figures.pruning import without_units
from tests.support.effects import effect_tables

LAYERS = ("features.3", "classifier")


def test_a_line_for_every_order() -> None:
    rows = effect_tables(LAYERS, ("net1", "net2"))["pruning_by_layer"]
    figure = without_units(rows)
    panels = iter(figure.axes)
    for made_up in (False, True):
        for layer in LAYERS:
            axes = next(panels)
            lines = {line.get_label(): line for line in axes.lines}
            mine = rows.query(f"layer == '{layer}' and removal_order == 'redundancy' and compensated == {made_up}")
            np.testing.assert_array_equal(lines["most redundant first"].get_ydata(), mine["top1_change"])
            assert axes.get_title(loc="left") == ("" if made_up else layer)
    mean = rows.query("removal_order == 'random' and fraction == 0.5 and not compensated")["top1_change"].mean()
    assert f"{100 * mean:+.1f} at random" in figure.get_supxlabel().replace("\n", " ")
    with pytest.raises(Undrawable, match="no rows"):
        without_units(rows[:0])
