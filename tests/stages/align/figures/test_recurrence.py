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


def measured(names: list[str]) -> pd.DataFrame:
    """Rows of the table measures of two pairs of networks."""
    keys = list(itertools.product(LAYERS, ["net2", "net3"], names))
    rows = pd.DataFrame(keys, columns=["layer_a", "net_b", "measure"]).assign(net_a="net1")
    rows["layer_b"] = rows["layer_a"]
    rng = np.random.default_rng(1)
    for column in ("value", "low", "high", "chance"):
        rows[column] = rng.uniform(0, 1, len(rows))
    return rows


def test_every_measure_has_a_panel_with_means_over_pairs_similarities_first() -> None:
    rows = measured(["angular_distance", "svcca", "linear_cka", "effective_dimension", "hard_correlation_match"])
    panels = {axes.get_title(loc="left"): axes for axes in measures_by_layer(rows).axes if axes.lines}
    order = ["hard correlation match ↑", "linear cka ↑", "svcca ↑", "angular distance ↓", "effective dimension"]
    assert list(panels) == order
    for title, axes in panels.items():
        of_measure = rows[rows["measure"] == title.rstrip(" ↑↓").replace(" ", "_")]
        expected = of_measure.groupby("layer_a")[["value", "chance"]].mean().reindex(LAYERS)
        null = "units rotated" if "match" in title else "untrained"
        np.testing.assert_allclose(values(axes, null), expected["chance"])
        names = [str(line.get_label()) for line in axes.lines]
        drawn = np.concatenate([values(axes, name) for name in names if name in ("trained", "not above chance")])
        np.testing.assert_allclose(np.sort(drawn), np.sort(expected["value"]))
    with pytest.raises(Undrawable, match="no values"):
        measures_by_layer(rows.assign(value=np.nan))


def test_measures_that_are_not_above_chance_are_hollow_and_named() -> None:
    """A large similarity and a small distance are alike."""
    rows = measured(["angular_distance", "linear_cka", "effective_dimension"]).assign(value=0.5, chance=0.4)
    rows.loc[rows["layer_a"] == LAYERS[0], "chance"] = 0.6
    figure = measures_by_layer(rows)
    said = figure.get_supxlabel().replace("\n", " ")
    worse = f"in {', '.join(LAYERS[1:])}: angular distance"
    assert f"2 of 2 measures with a null (in {LAYERS[0]}: linear cka; {worse})" in said
    cka, angle, _ = figure.axes[:3]
    for axes, count in ((cka, 1), (angle, len(LAYERS) - 1)):
        (hollow,) = [line for line in axes.lines if line.get_label() == "not above chance"]
        assert len(np.asarray(hollow.get_ydata())) == count
        assert hollow.get_markerfacecolor() == "white"
    every = measures_by_layer(rows.assign(chance=np.where(rows["measure"] == "linear_cka", 0.4, 0.6)))
    assert (
        every.get_supxlabel().replace("\n", " ").endswith("All 2 measures with a null are above chance in every layer.")
    )
