"""Averages per layer: marks, bars and chance against numbers computed by hand from the rows."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.figures.layers import layer_averages

LAYERS = ["features.0", "features.3", "features.10", "classifier"]  # not in the order of the alphabet


@pytest.fixture
def alignment() -> pd.DataFrame:
    """Three networks, four layers."""
    rng = np.random.default_rng(0)
    rows = []
    for layer, (a, b), method in itertools.product(
        LAYERS, itertools.permutations(["net1", "net2", "net3"], 2), ["semi", "bipartite"]
    ):
        mean, half = rng.uniform(0.3, 0.8), rng.uniform(0.01, 0.05)
        rows.append(
            {
                "layer": layer,
                "net_a": a,
                "net_b": b,
                "similarity": "correlation",
                "method": method,
                "mean": mean,
                "mean_low": mean - half,
                "mean_high": mean + half,
                "rotated_mean": rng.uniform(0.2, 0.3),
                "untrained_mean": rng.uniform(0.1, 0.2),
                "excess": (excess := rng.uniform(0.1, 0.2)),
                "excess_low": excess - half,
                "excess_high": excess + half,
                "untrained_excess": rng.uniform(0.03, 0.06),
                "prerelu_excess": rng.uniform(0.06, 0.1),
                "untrained_prerelu_excess": rng.uniform(-0.01, 0.01),
                "fraction_below_half": 0.5,
            }
        )
    return pd.DataFrame(rows)


def values(axes: Axes, name: str) -> np.ndarray:
    return np.asarray(line(axes, name).get_ydata(), dtype=float)


def line(axes: Axes, name: str) -> Line2D:
    (found,) = [line for line in axes.lines if line.get_label() == name]
    return found


def by_hand(alignment: pd.DataFrame, method: str, column: str) -> list[float]:
    return [
        float(np.mean(alignment.loc[(alignment["layer"] == layer) & (alignment["method"] == method), column]))
        for layer in LAYERS
    ]


@pytest.mark.parametrize("as_category", [False, True])
def test_marks_bars_and_chance(alignment: pd.DataFrame, as_category: bool) -> None:
    expected = alignment.copy()
    if as_category:
        alignment["layer"] = alignment["layer"].astype("category")
    above, axes = layer_averages(alignment).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == LAYERS
    of_methods = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
    for (method, name), collection in zip(
        {"semi": "semi-matching", "bipartite": "matching"}.items(), of_methods, strict=True
    ):
        np.testing.assert_allclose(values(axes, name), by_hand(expected, method, "mean"))
        ends = np.array([segment[:, 1] for segment in collection.get_segments()])
        np.testing.assert_allclose(ends[:, 0], by_hand(expected, method, "mean_low"))
        np.testing.assert_allclose(ends[:, 1], by_hand(expected, method, "mean_high"))
    np.testing.assert_allclose(values(axes, "untrained networks"), by_hand(expected, "bipartite", "untrained_mean"))
    np.testing.assert_allclose(values(axes, "mixed units"), by_hand(expected, "bipartite", "rotated_mean"))
    names = ("semi-matching", "matching", "untrained networks", "mixed units")
    assert len({str(line(axes, name).get_color()) for name in names}) == 4
    np.testing.assert_allclose(values(above, "mixed after the non-linearity"), by_hand(expected, "semi", "excess"))
    np.testing.assert_allclose(
        values(above, "mixed before the non-linearity"), by_hand(expected, "semi", "prerelu_excess")
    )
    np.testing.assert_allclose(values(above, "untrained networks"), by_hand(expected, "semi", "untrained_excess"))
    (bars,) = [collection for collection in above.collections if isinstance(collection, LineCollection)]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends[:, 0], by_hand(expected, "semi", "excess_low"))
    np.testing.assert_allclose(ends[:, 1], by_hand(expected, "semi", "excess_high"))


def test_every_pair_has_a_faint_mark(alignment: pd.DataFrame) -> None:
    _, axes = layer_averages(alignment).axes
    faint = [found for found in axes.lines if found.get_alpha() is not None]
    heights = np.concatenate([np.asarray(found.get_ydata(), dtype=float) for found in faint])
    np.testing.assert_array_equal(np.sort(heights), np.sort(alignment["mean"]))
    for found in faint:
        places = np.asarray(found.get_xdata(), dtype=float)
        assert len(set(places)) == len(places)
        assert np.abs(places - round(places.mean())).max() < 0.5


def test_caption_names_the_worst_and_the_best_layer(alignment: pd.DataFrame) -> None:
    caption = layer_averages(alignment).get_supxlabel().replace("\n", " ")
    semi = dict(zip(LAYERS, by_hand(alignment, "semi", "mean"), strict=True))
    worst, best = min(semi, key=semi.__getitem__), max(semi, key=semi.__getitem__)
    assert f"semi-matching {semi[worst]:.2f} ({worst}) to {semi[best]:.2f} ({best})" in caption
    assert "6 ordered pairs" in caption
    excess = dict(zip(LAYERS, by_hand(alignment, "semi", "excess"), strict=True))
    assert f"mixed after the non-linearity {min(excess.values()):+.2f}" in caption


def test_missing_intervals_and_dead_layers_leave_gaps(alignment: pd.DataFrame) -> None:
    alignment.loc[alignment["layer"] == "features.3", ["mean", "excess", "untrained_mean"]] = np.nan
    alignment[["mean_low", "mean_high", "untrained_mean", "prerelu_excess"]] = np.nan
    _, axes = layer_averages(alignment).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == LAYERS
    np.testing.assert_array_equal(np.isnan(values(axes, "matching")), [False, True, False, False])


def test_only_correlations_are_averaged(alignment: pd.DataFrame) -> None:
    other = alignment.assign(similarity="mutual_information", mean=9.0)
    _, axes = layer_averages(pd.concat([alignment, other])).axes
    np.testing.assert_allclose(values(axes, "matching"), by_hand(alignment, "bipartite", "mean"))
    with pytest.raises(Undrawable, match="no averages of correlations"):
        layer_averages(other)
