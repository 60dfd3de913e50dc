"""The figures of recurring units and of measures: marks, bars and chance against the rows."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.figures.measures import measures_by_layer
from raycv.stages.align.figures.recurrence import recurring_units

LAYERS = ["features.3", "features.10", "classifier"]  # not in the order of the alphabet


def values(axes: Axes, name: str) -> np.ndarray:
    (found,) = [line for line in axes.lines if line.get_label() == name]
    return np.asarray(found.get_ydata(), dtype=float)


def test_shares_and_their_chance_are_those_of_the_table() -> None:
    rng = np.random.default_rng(0)
    quantities = ["partner_share", "recurring_share", "group_share", "partners_by_mean"]
    rows = pd.DataFrame(list(itertools.product(LAYERS, quantities)), columns=["layer", "quantity"])
    rows["value"], rows["untrained"] = rng.uniform(0.2, 0.8, len(rows)), rng.uniform(0, 0.2, len(rows))
    rows["low"], rows["high"] = rows["value"] - 0.5, rows["value"] + 0.1
    figure = recurring_units(rows)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == LAYERS
    of = {quantity: rows[rows["quantity"] == quantity] for quantity in quantities}
    np.testing.assert_array_equal(values(axes, "partners in all networks"), of["recurring_share"]["value"])
    np.testing.assert_array_equal(values(axes, "in a group"), of["group_share"]["value"])
    np.testing.assert_array_equal(values(axes, "untrained networks"), of["partner_share"]["untrained"])
    highest = of["recurring_share"].set_index("layer")["value"]
    assert f"{highest.max():.0%} ({highest.idxmax()})" in figure.get_supxlabel().replace("\n", " ")
    with pytest.raises(Undrawable, match="no shares"):
        recurring_units(rows[rows["quantity"] == "partners_by_mean"])


def test_every_measure_has_a_panel_with_means_over_pairs() -> None:
    rng = np.random.default_rng(1)
    keys = list(itertools.product(LAYERS, ["net2", "net3"], ["svcca", "linear_cka"]))
    rows = pd.DataFrame(keys, columns=["layer_a", "net_b", "measure"]).assign(net_a="net1")
    rows["layer_b"] = rows["layer_a"]
    for column in ("value", "low", "high", "chance"):
        rows[column] = rng.uniform(0, 1, len(rows))
    panels = {axes.get_title(loc="left"): axes for axes in measures_by_layer(rows).axes if axes.lines}
    assert list(panels) == ["linear cka", "svcca"]
    for name, axes in panels.items():
        of_measure = rows[rows["measure"] == name.replace(" ", "_")]
        for label, column in (("trained", "value"), ("by chance", "chance")):
            expected = [of_measure.loc[of_measure["layer_a"] == layer, column].mean() for layer in LAYERS]
            np.testing.assert_allclose(values(axes, label), expected)
    with pytest.raises(Undrawable, match="no values"):
        measures_by_layer(rows.assign(value=np.nan))
