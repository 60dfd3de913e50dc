"""The figures of an attribution: points and bars against the rows."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from raycv.drawing.undrawable import Undrawable
from raycv.run.schema import COMPARED
from raycv.stages.attribute.figures.contrasts import contrasts_of_all, values_of_layer

LAYERS, CELLS = ["conv2", "conv1"], ["untrained", "half", "apart"]
SHOWN = ["prerelu_excess", "estimated_share", "debiased_cka", "correlation"]


def rows(value: str) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(list(itertools.product(CELLS, LAYERS, COMPARED)), columns=["cell", "layer", "measure"])
    frame[value] = rng.normal(size=len(frame))
    return frame.assign(low=frame[value] - 0.5, high=frame[value] + 1, q_value=rng.uniform(0, 0.1, len(frame)))


def drawn(axes: Axes) -> list[tuple[float, float, float, bool]]:
    """Low end, value, high end and whether it is filled, of every point in order."""
    points = [line for line in axes.lines if line.get_marker() == "o" and len(np.asarray(line.get_xdata()))]
    ends = [np.asarray(bars.get_paths()[0].vertices)[:, 0] for bars in axes.collections]
    return [
        (low, float(np.asarray(point.get_xdata())[0]), high, point.get_markerfacecolor() != "white")
        for point, (low, high) in zip(points, ends, strict=True)
    ]


def test_differences_are_those_of_the_table() -> None:
    table = rows("difference").assign(against="true")
    figure = contrasts_of_all(table)
    for axes, measure in zip(figure.axes, SHOWN, strict=True):
        of_measure = table[table["measure"] == measure]
        expected = [
            (row["low"], row["difference"], row["high"], row["q_value"] <= 0.05)
            for row in of_measure.to_dict("records")
        ]
        assert drawn(axes) == expected
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [f"{cell} − true" for cell in CELLS]
    found = (table["q_value"] <= 0.05).sum()
    assert f"({found} of {len(table)}, of all measures)" in figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize("rectified", [True, False])
def test_values_are_those_of_the_layer(rectified: bool) -> None:
    table = rows("value")
    table = table if rectified else table[table["measure"] != "prerelu_excess"]
    figure = values_of_layer(table, "conv1")
    shown = SHOWN if rectified else ["excess", *SHOWN[1:]]
    for axes, measure in zip(figure.axes, shown, strict=True):
        of_measure = table[(table["measure"] == measure) & (table["layer"] == "conv1")]
        expected = [
            (row["low"], row["value"], row["high"], row["low"] > 0 or row["high"] < 0)
            for row in of_measure.to_dict("records")
        ]
        assert drawn(axes) == expected
    assert ("after" if not rectified else "before") in figure.axes[0].get_title(loc="left")


def test_what_is_not_there_is_not_drawn() -> None:
    with pytest.raises(Undrawable, match="empty"):
        contrasts_of_all(rows("difference").iloc[:0])
    with pytest.raises(Undrawable, match="no layer fc9"):
        values_of_layer(rows("value"), "fc9")
