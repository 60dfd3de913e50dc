"""The four correlation matrices against numpy.corrcoef, and what renumbering units must not change."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from raycv.analysis.matching import bipartite_matching
from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.figures.correlations import correlation_matrices
from tests.support.matchings import matching_rows


def activations(width_a: int, width_b: int) -> tuple[np.ndarray, np.ndarray]:
    """(500, width) each; units of the second network are noisy copies of units of the first, renumbered."""
    rng = np.random.default_rng(3)
    a = rng.standard_normal((500, width_a))
    picked = a[:, rng.permutation(max(width_a, width_b)) % width_a][:, :width_b]
    return a, picked + rng.uniform(0.2, 1.5, width_b) * rng.standard_normal((500, width_b))


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(S_a, S_b), NaN for units that never vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        both: np.ndarray = np.corrcoef(a, b, rowvar=False)
    return both[: a.shape[1], a.shape[1] :]


def tables(a: np.ndarray, b: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables correlations and matchings of net1 and net2; as in a run, net2 with net1 is not stored apart."""
    parts = []
    for net_a, net_b, matrix in (
        ("net1", "net1", correlation(a, a)),
        ("net1", "net2", correlation(a, b)),
        ("net2", "net2", correlation(b, b)),
    ):
        unit_a, unit_b = (index.ravel() for index in np.indices(matrix.shape))
        part = {"layer": "conv1", "net_a": net_a, "net_b": net_b, "unit_a": unit_a, "unit_b": unit_b}
        parts.append(pd.DataFrame({**part, "value": matrix.ravel()}))
    both = correlation(a, b)
    correlations = pd.concat(parts).sample(frac=1, random_state=0)
    correlations["layer"] = correlations["layer"].astype("category")
    return correlations, pd.concat([matching_rows(both), matching_rows(both.T, net_a="net2", net_b="net1")])


def shown(figure: Figure) -> list[np.ma.MaskedArray]:
    return [axes.images[0].get_array() for axes in figure.axes[:4]]  # type: ignore[misc]


@pytest.mark.parametrize("shape", [(9, 9), (9, 6), (6, 9)])
def test_panels_are_the_matrices_of_the_tables(shape: tuple[int, int]) -> None:
    a, b = activations(*shape)
    figure = correlation_matrices(*tables(a, b), "conv1", "net1", "net2")
    for panel, expected in zip(shown(figure), (correlation(a, a), correlation(b, b), correlation(a, b)), strict=False):
        np.testing.assert_array_equal(panel, expected)
    matching = bipartite_matching(correlation(a, b))
    paired = matching.values[matching.columns >= 0]
    assert len(paired) == min(shape)
    np.testing.assert_array_equal(shown(figure)[3].diagonal(), paired)
    np.testing.assert_array_equal(np.sort(shown(figure)[3], None), np.sort(correlation(a, b), None))


def test_one_grey_scale_from_the_smallest_to_the_largest_value() -> None:
    a, b = activations(8, 8)
    figure = correlation_matrices(*tables(a, b), "conv1", "net1", "net2")
    smallest = min(panel.min() for panel in shown(figure))
    for axes in figure.axes[:4]:
        assert axes.images[0].get_clim() == pytest.approx((smallest, 1.0))
        assert axes.images[0].to_rgba(np.array([smallest, 1.0]))[:, :3].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert figure.axes[4].get_ylabel() == "correlation"


def test_a_shuffled_copy_comes_back_as_the_within_matrix() -> None:
    a, _ = activations(10, 10)
    order = np.random.default_rng(1).permutation(10)
    figure = correlation_matrices(*tables(a, a[:, order]), "conv1", "net1", "net2")
    within, _, between, permuted = shown(figure)
    assert not np.allclose(between, within)
    np.testing.assert_allclose(permuted, within, atol=1e-12)
    assert "it averages 1.00, and 100% of the 10 pairs" in figure.get_supxlabel().replace("\n", " ")


def test_a_pair_stored_the_other_way_round_is_transposed() -> None:
    a, b = activations(7, 5)
    figure = correlation_matrices(*tables(a, b), "conv1", "net2", "net1")
    np.testing.assert_array_equal(shown(figure)[2], correlation(a, b).T)
    assert figure.axes[2].get_ylabel() == "unit of net2"
    assert figure.axes[2].get_xlabel() == "unit of net1"


def test_dead_units_are_coloured_and_counted() -> None:
    a, b = activations(6, 6)
    b[:, 2] = 0
    figure = correlation_matrices(*tables(a, b), "conv1", "net1", "net2")
    dead = np.zeros((6, 6), dtype=bool)
    dead[:, 2] = True
    np.testing.assert_array_equal(np.ma.getmaskarray(shown(figure)[2]), dead)
    np.testing.assert_array_equal(np.ma.getmaskarray(shown(figure)[1]), dead | dead.T)
    # In the permuted matrix the dead unit has no partner and stands last.
    np.testing.assert_array_equal(np.ma.getmaskarray(shown(figure)[3]), np.roll(dead, 3, axis=1))
    red, green, blue, _ = figure.axes[2].images[0].cmap.get_bad()
    assert len({red, green, blue}) == 3  # no grey
    assert "dead units (1 unit of net2)" in figure.get_supxlabel().replace("\n", " ")


def test_ticks_of_the_permuted_matrix_are_unit_numbers() -> None:
    a, b = activations(9, 6)
    figure = correlation_matrices(*tables(a, b), "conv1", "net1", "net2")
    axes, matrix = figure.axes[3], correlation(a, b)
    rows = [int(axes.yaxis.get_major_formatter()(place, None)) for place in range(9)]
    columns = [int(axes.xaxis.get_major_formatter()(place, None)) for place in range(6)]
    np.testing.assert_array_equal(shown(figure)[3], matrix[np.ix_(rows, columns)])
    assert axes.xaxis.get_major_formatter()(0.5, None) == axes.xaxis.get_major_formatter()(6, None) == ""


def test_caption_compares_the_diagonals() -> None:
    a, b = activations(8, 8)
    caption = correlation_matrices(*tables(a, b), "conv1", "net1", "net2").get_supxlabel().replace("\n", " ")
    matched = bipartite_matching(correlation(a, b)).values
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d\d", caption)]
    assert numbers == [round(correlation(a, b).diagonal().mean(), 2), round(matched.mean(), 2)]
    assert f"{(matched > 0.5).mean():.0%} of the 8 pairs" in caption


def test_a_layer_of_dead_units_is_drawn() -> None:
    figure = correlation_matrices(*tables(np.zeros((9, 3)), np.zeros((9, 4))), "conv1", "net1", "net2")
    assert all(panel.mask.all() for panel in shown(figure))
    assert "No units could be paired." in figure.get_supxlabel()
    figure.savefig(io.BytesIO(), format="png")


def test_bad_requests_name_what_there_is() -> None:
    correlations, matchings = tables(*activations(4, 4))
    with pytest.raises(Undrawable, match=r"net1 and net1 at layer fc6; it has layers conv1 and networks net[12], net"):
        correlation_matrices(correlations, matchings, "fc6", "net1", "net2")
    with pytest.raises(Undrawable, match="net9"):
        correlation_matrices(correlations, matchings, "conv1", "net1", "net9")
