"""Table 1 and its curves: what is drawn must be what the table mappings says."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.table import Table

from raycv.drawing.undrawable import Undrawable
from raycv.paper import SPARSE_DECAY
from raycv.stages.mapping.figures.table1 import (
    HIGHEST,
    below_nulls,
    decay_name,
    loss_curves,
    losses,
    optimiser_part,
    optimiser_shares,
    sparse_decay,
    table_1,
)
from tests.support.mappings import DECAYS, UNITS, mappings


def cells(axes: Axes) -> tuple[list[list[str]], list[list[str]]]:
    """The texts of the table drawn and their weights, bold or normal."""
    (table,) = [child for child in axes.get_children() if isinstance(child, Table)]
    places = table.get_celld()
    rows, columns = (1 + max(place[axis] for place in places) for axis in (0, 1))
    texts = [[places[row, column].get_text() for column in range(columns)] for row in range(rows)]
    return (
        [[text.get_text() for text in line] for line in texts],
        [[str(text.get_fontweight()) for text in line] for line in texts],
    )


def test_the_cells_are_the_means_over_pairs_layer_by_layer_and_solver_by_solver() -> None:
    texts, weights = cells(table_1(mappings()).axes[0])
    assert texts[0] == ["", "", "decay 0", "$10^{-3}$", "$10^{-2.6}$", "$10^{-1}$"]
    assert texts[1] == ["conv1", "exact", "0.110 (128)", "0.120 (9.0)", "0.220 (2.5)", "0.510 (0.0)"]
    assert texts[2] == ["", "exact, held out", "0.120", "0.130", "0.230", "0.520"]
    assert texts[3] == ["", "sgd", "0.210 (128)", "0.220 (9.0)", "0.250 (2.5)", "0.510 (0.0)"]
    assert [line[0] for line in texts[4:]] == ["fc6", "", ""]
    assert weights[1][2:] == ["bold", "bold", "normal", "normal"]
    assert weights[5][2:] == ["normal", "bold", "normal", "normal"]  # 6.2, 0.27, 0.32, 0.52


def test_a_run_of_one_solver_with_nothing_held_out_has_one_line_a_layer() -> None:
    rows = mappings().query("solver == 'exact'").assign(heldout_loss=np.nan)
    texts, _ = cells(table_1(rows).axes[0])
    assert [line[:2] for line in texts[1:]] == [["conv1", "exact"], ["fc6", "exact"]]
    _, names = loss_curves(rows).axes[0].get_legend_handles_labels()
    assert names[:2] == ["LASSO optimum, held out", "LASSO optimum, fitted"]
    assert names[2:] == ["units rotated, fitted", "mixed before the non-linearity, fitted"]
    assert "SGD" not in loss_curves(rows).get_supxlabel() + table_1(rows).get_supxlabel()


def test_decays_of_a_search_are_not_mixed_with_those_given() -> None:
    assert sorted(losses(mappings())["decay"].unique()) == list(DECAYS)
    assert sparse_decay(mappings()) == SPARSE_DECAY
    assert sparse_decay(mappings().query("decay != @SPARSE_DECAY and decay > 0")) == 1e-3


@pytest.mark.parametrize(("decay", "name"), [(0.0, "0"), (10**-2.6, "10^-2.6"), (1e-5, "10^-5"), (3e-4, "0.0003")])
def test_decays_are_named_as_in_the_paper(decay: float, name: str) -> None:
    assert decay_name(decay) == name


def test_curves_run_over_the_units_used() -> None:
    figure = loss_curves(mappings())
    conv1, fc6 = figure.axes
    drawn = {str(line.get_label()): np.asarray(line.get_xydata()) for line in conv1.lines}
    np.testing.assert_allclose(drawn["LASSO optimum, fitted"].T, [UNITS, [0.11, 0.12, 0.22, 0.51]])
    np.testing.assert_allclose(drawn["paper's SGD, held out"].T, [UNITS, [0.22, 0.23, 0.26, 0.52]])
    np.testing.assert_allclose(drawn["units rotated, fitted"].T, [UNITS, [0.16, 0.17, 0.27, 0.56]])
    np.testing.assert_allclose(drawn["mixed before the non-linearity, fitted"].T, [UNITS, [0.14, 0.15, 0.25, 0.54]])
    assert not [line for line in fc6.lines if "ReLU" in str(line.get_label())]
    (band,) = conv1.collections
    extents = band.get_datalim(conv1.transData).extents
    np.testing.assert_allclose(extents, [0, 0.09, 128, 0.55])
    assert fc6.get_ylim() == (0, HIGHEST)
    assert [text.get_text() for text in fc6.texts] == ["held out: up to 6.4,\noff the scale"]
    assert not conv1.texts


def test_the_caption_says_where_the_optimum_fits_no_better_than_its_null() -> None:
    rows = mappings()
    assert below_nulls(losses(rows), SPARSE_DECAY)["rotated_loss"] == []
    worse = rows.assign(rotated_loss=rows["rotated_loss"].where(rows["layer"] != "conv1", 0.2))
    assert below_nulls(losses(worse), SPARSE_DECAY)["rotated_loss"] == ["conv1"]
    said = loss_curves(worse).get_supxlabel().replace("\n", " ")
    assert "the optimum fits better than units rotated in every layer but conv1; than mixed before" in said
    assert "Both nulls are of the fit: compare them with the dashed line" in said


def test_shares_take_the_loss_of_training_apart() -> None:
    shares = optimiser_shares(mappings())
    keys = list(zip(shares["layer"], shares["decay"], strict=True))
    assert keys == [("conv1", 0.0), ("conv1", SPARSE_DECAY), ("fc6", 0.0), ("fc6", SPARSE_DECAY)]
    np.testing.assert_allclose(shares["optimum"] + shares["optimiser"], shares["trained"])
    row = shares.iloc[0]
    np.testing.assert_allclose(row[["optimum", "optimiser", "share"]].tolist(), [0.11, 0.10, 0.10 / 0.21])
    np.testing.assert_allclose(row[["heldout", "heldout_low", "heldout_high"]].tolist(), [0.12, 0.09, 0.15])


def test_bars_are_the_parts_and_dots_the_pairs() -> None:
    dense, sparse = optimiser_part(mappings()).axes
    heights = [round(float(bar.get_height()), 3) for bar in dense.patches]  # type: ignore[attr-defined]
    assert heights == [0.11, 0.21, 0.10, 0.20]
    assert {text.get_text() for text in dense.texts} == {"48%", "49%", "6.2 ↑"}
    assert [text.get_text() for text in sparse.texts] == ["12%", "-3%"]
    dots = [line for line in dense.lines if line.get_marker() == "."]
    np.testing.assert_allclose(np.sort(np.asarray(dots[0].get_ydata())), [0.10, 0.12, 0.20, 0.22])


def test_what_is_missing_is_said() -> None:
    with pytest.raises(Undrawable, match="the comparison needs exact and sgd"):
        optimiser_shares(mappings().query("solver == 'exact'"))
    with pytest.raises(Undrawable, match="The table mappings has no rows"):
        table_1(mappings().iloc[:0])
