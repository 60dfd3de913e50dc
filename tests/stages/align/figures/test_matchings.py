"""Semi-matching and matching curves: what is drawn must be what the table says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from raycv.analysis.matching import bipartite_matching
from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.figures.matchings import matching_curves
from tests.support.matchings import matching_rows


def drawn(axes: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float) for line in axes.lines}


@pytest.fixture
def similarity() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.2, 1, (12, 12)) ** 3


def test_one_layer_shows_both_matchings_in_the_order_of_the_semi_matching(similarity: np.ndarray) -> None:
    rows = matching_rows(similarity).sample(frac=1, random_state=1)
    figure = matching_curves(rows, ["conv1"], "net1", "net2")
    (axes,) = figure.axes
    order = np.argsort(-similarity.max(1))
    np.testing.assert_array_equal(drawn(axes)["semi-matching"], similarity.max(1)[order])
    np.testing.assert_array_equal(drawn(axes)["matching"], bipartite_matching(similarity).values[order])
    assert axes.get_xlabel() == "units of net1, sorted by semi-matching"
    assert axes.get_ylabel() == "correlation"
    assert axes.get_ylim()[0] < np.nanmin(bipartite_matching(similarity).values)


def test_semi_circles_are_larger_and_lighter_than_matching_dots(similarity: np.ndarray) -> None:
    (axes,) = matching_curves(matching_rows(similarity), ["conv1"], "net1", "net2").axes
    semi, one = axes.lines[:2]
    assert semi.get_markersize() > one.get_markersize()
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["semi-matching", "matching", "mixed units"]


def test_caption_counts_units_without_a_good_match_and_units_with_one_partner() -> None:
    similarity = np.array([[0.9, 0.6, 0.0], [0.8, 0.1, 0.0], [0.0, 0.0, 0.5]])
    caption = matching_curves(matching_rows(similarity), ["conv1"], "net1", "net2").get_supxlabel().replace("\n", " ")
    # Best per row: 0.9, 0.8 and 0.5 (not above 0.5); one to one: 0.6 + 0.8 + 0.5, which moves the first unit.
    assert "33% of net1's units (1 of 3) have no match above 0.5 in net2" in caption
    assert "semi-matching 0.73, matching 0.63" in caption
    assert "same partner for 2 of 3 units" in caption


def test_dead_and_left_over_units_are_left_out(similarity: np.ndarray) -> None:
    wide = similarity[:, :8].copy()
    wide[3] = np.nan
    figure = matching_curves(matching_rows(wide), ["conv1"], "net1", "net2")
    shown = drawn(figure.axes[0])
    assert len(shown["semi-matching"]) == 11
    assert np.isfinite(shown["semi-matching"]).all()
    assert np.isfinite(shown["matching"]).sum() == 8
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "Matching leaves over 3 units." in caption
    assert "Left out: 1 unit without a partner." in caption


def test_one_panel_per_layer_in_the_order_given(similarity: np.ndarray) -> None:
    layers = ["conv2", "conv10", "fc6"]
    rows = pd.concat(
        [matching_rows(similarity * scale, name) for name, scale in zip(layers, (1, 0.6, 0.3), strict=True)]
    )
    rows["layer"] = rows["layer"].astype("category")
    figure = matching_curves(rows, layers, "net1", "net2")
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left").split(":")[0] for axes in panels] == layers
    for axes, scale in zip(panels, (1, 0.6, 0.3), strict=True):
        best = scale * similarity.max(1)
        np.testing.assert_allclose(drawn(axes)["semi-matching"], np.sort(best)[::-1])
        assert f"({(best <= 0.5).sum()} of 12)" in axes.get_title(loc="left")
    assert f"to {(0.3 * similarity.max(1) <= 0.5).mean():.0%} (fc6)" in figure.get_supxlabel().replace("\n", " ")


def test_a_layer_of_dead_units_is_an_empty_panel(similarity: np.ndarray) -> None:
    rows = pd.concat([matching_rows(similarity, "conv1"), matching_rows(np.full((4, 4), np.nan), "conv2")])
    figure = matching_curves(rows, ["conv1", "conv2"], "net1", "net2")
    assert figure.axes[1].get_title(loc="left") == "conv2: no unit has a partner"
    alone = matching_curves(rows, ["conv2"], "net1", "net2")
    assert alone.get_supxlabel() == "No unit of net1 has a partner in net2."


def test_matchings_by_mutual_information_are_not_mixed_in(similarity: np.ndarray) -> None:
    other = matching_rows(similarity[::-1]).assign(similarity="mutual_information")
    mixed = matching_curves(pd.concat([other, matching_rows(similarity)]), ["conv1"], "net1", "net2")
    plain = matching_curves(matching_rows(similarity), ["conv1"], "net1", "net2")
    for method, values in drawn(plain.axes[0]).items():
        np.testing.assert_array_equal(drawn(mixed.axes[0])[method], values)


def test_bad_requests_name_what_there_is(similarity: np.ndarray) -> None:
    with pytest.raises(Undrawable, match=r"layer conv9; it has layers conv1 and networks net1"):
        matching_curves(matching_rows(similarity), ["conv9"], "net1", "net2")
    with pytest.raises(Undrawable, match="at least one layer"):
        matching_curves(matching_rows(similarity), [], "net1", "net2")
