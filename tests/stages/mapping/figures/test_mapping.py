"""Figure 6 and the figures of section 4 together: what is drawn must be what the tables say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.figure import Figure
from PIL import Image

from raycv.analysis.agglomeration import agglomerate
from raycv.drawing.portraits import Portraits
from raycv.drawing.subject import Plan
from raycv.drawing.undrawable import Undrawable
from raycv.paper import SPARSE_DECAY
from raycv.stages.mapping.figures.mapping import (
    aligned_order,
    example_units,
    mapping_matrix,
    weight_matrix,
)
from raycv.stages.mapping.figures.plan import plan
from tests.support.mappings import mappings
from tests.support.subjects import subject_of

NETS = ("net1", "net2")
SOURCES, TARGETS = 5, 4
FORWARD = np.zeros((TARGETS, SOURCES))
FORWARD[0, 1] = 0.4
FORWARD[1, [0, 3]] = 0.6, -0.3
FORWARD[2, [1, 2, 4]] = 0.9, 0.2, 0.1
PAIR = {"layer": "conv1", "source_net": "net1", "target_net": "net2"}
BACK = {"layer": "conv1", "source_net": "net2", "target_net": "net1"}
UNITS = pd.DataFrame(
    {"layer": "conv1", "net": ["net1"] * SOURCES + ["net2"] * TARGETS, "unit": [*range(SOURCES), *range(TARGETS)]}
)
MAPPING_UNITS = pd.DataFrame(
    PAIR
    | {
        "solver": "exact",
        "decay": SPARSE_DECAY,
        "target_unit": range(TARGETS),
        "r2": [0.9, 0.5, 0.7, 0.0],
        "heldout_r2": [0.8, 0.4, 0.6, -0.1],
    }
)


def nonzeros(matrix: np.ndarray, pair: dict[str, str], **about: Any) -> pd.DataFrame:
    """Rows of the table mapping_weights."""
    target, source = np.nonzero(matrix)
    rows = pair | {"solver": "exact", "decay": SPARSE_DECAY} | about
    weight = matrix[target, source].astype(np.float32)
    return pd.DataFrame(rows | {"target_unit": target, "source_unit": source, "weight": weight})


WEIGHTS = pd.concat(
    [
        nonzeros(FORWARD, PAIR),
        nonzeros(FORWARD.T, BACK),
        nonzeros(np.ones_like(FORWARD), PAIR, decay=0.0),
        nonzeros(np.ones_like(FORWARD), PAIR, solver="sgd"),
    ]
)


def trees() -> pd.DataFrame:
    """Rows of the table agglomerations."""
    frames = []
    for reverse in (False, True):
        merges = agglomerate(FORWARD, FORWARD.T if reverse else None).merges
        columns = {name: merges[:, i] for i, name in enumerate(("cluster_a", "cluster_b", "weight", "size"))}
        frames.append(
            pd.DataFrame(PAIR | {"decay": SPARSE_DECAY, "reverse": reverse, "merge": range(len(merges))} | columns)
        )
    return pd.concat(frames)


def png(colour: tuple[int, int, int], width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_matrix_is_that_of_the_pair_decay_and_optimum() -> None:
    np.testing.assert_allclose(weight_matrix(WEIGHTS, UNITS, "conv1", "net1", "net2", SPARSE_DECAY), FORWARD, rtol=1e-6)
    with pytest.raises(Undrawable, match="net3"):
        weight_matrix(WEIGHTS, UNITS, "conv1", "net1", "net3", SPARSE_DECAY)


def test_target_units_stand_at_their_best_source_unit() -> None:
    rows, columns = aligned_order(FORWARD)
    assert rows.tolist() == [2, 0, 1, 3]  # best source 1 (0.9), again 1, then 0; unit 3 has none
    assert columns.tolist() == [1, 0, 2, 3, 4]


@given(
    arrays(
        np.float64, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.sampled_from([0, 0, 0.1, 0.5, -0.7])
    )
)
def test_the_largest_weights_are_a_staircase(matrix: np.ndarray) -> None:
    rows, columns = aligned_order(matrix)
    assert sorted(rows) == list(range(len(matrix)))
    assert sorted(columns) == list(range(matrix.shape[1]))
    size = np.abs(matrix[np.ix_(rows, columns)])
    filled = int((size.max(1) > 0).sum())
    assert (size[:filled].max(1) > 0).all()  # rows without a weight stand last
    # In order, the first row begins the first step; each further row stands on the same step or the next.
    steps = [int(columns.tolist().index(np.abs(matrix[row]).argmax())) for row in rows[:filled]]
    assert steps == sorted(steps)
    assert set(steps) == set(range(len(set(steps))))
    heads = [size[steps.index(step)].max() for step in sorted(set(steps))]
    assert heads == sorted(heads, reverse=True)


def test_examples_are_the_best_predicted_by_few() -> None:
    assert example_units(MAPPING_UNITS, FORWARD) == [2, 1]  # unit 0 is better predicted, but by one source unit alone
    assert example_units(MAPPING_UNITS.assign(heldout_r2=np.nan), FORWARD) == [2, 1]
    assert example_units(MAPPING_UNITS, FORWARD, 4) == [2, 1, 0]


def test_figure_6_shows_the_matrix_its_permutation_and_the_examples() -> None:
    figure = mapping_matrix(WEIGHTS, MAPPING_UNITS, UNITS, "conv1", "net1", "net2", SPARSE_DECAY)
    above, below = figure.subfigs
    plain, permuted = above.axes[:2]
    np.testing.assert_allclose(np.asarray(plain.images[0].get_array()), FORWARD, rtol=1e-6)
    rows, columns = aligned_order(FORWARD)
    np.testing.assert_allclose(np.asarray(permuted.images[0].get_array()), FORWARD[np.ix_(rows, columns)], rtol=1e-6)
    names = [axes.get_title() for axes in below.axes]
    assert names[:5] == ["net2\n2", "+0.90\nnet1 1", "+0.20\nnet1 2", "+0.10\nnet1 4", ""]
    assert names[6:] == ["net2\n1", "+0.60\nnet1 0", "-0.30\nnet1 3", "", ""]
    assert [axes.texts[0].get_text() for axes in below.axes if axes.texts] == ["r² 0.60", "r² 0.40"]
    assert [frame.get_y() for frame in plain.patches] == [1.5, 0.5]  # type: ignore[attr-defined]
    assert [frame.get_y() for frame in permuted.patches] == [-0.5, 1.5]  # type: ignore[attr-defined]


def planned(folder: Path, rows: pd.DataFrame, **more: Any) -> Plan:
    """What is drawn of a run with the tables of mapping layers."""
    frames = {"mappings": rows, "mapping_weights": WEIGHTS, "mapping_units": MAPPING_UNITS, "agglomerations": trees()}
    filters = more.pop("filters", None)
    found = subject_of(
        folder, frames | more, layers=["conv1"], nets=NETS, units=UNITS.assign(mean=1.0), filters=filters
    )
    return plan(found)


def test_all_figures_are_planned_and_absent_ones_are_left_out(tmp_path: Path) -> None:
    figures = planned(tmp_path / "both", mappings())
    assert all(isinstance(draw(), Figure) for draw in figures.values())
    assert list(figures) == [
        "table-1",
        "table-1-curves",
        "table-1-optimiser",
        "figure-06-mapping-conv1",
        "figure-07-agglomeration-conv1",
        "figure-07-agglomeration-conv1-both-ways",
    ]
    only = mappings().query("solver == 'sgd'")
    assert list(planned(tmp_path / "one", only)) == ["table-1", "table-1-curves"]


def test_more_predictors_than_fit_are_counted() -> None:
    weights = pd.concat(
        [WEIGHTS, nonzeros(np.array([[0, 0, 0, 0.05, 0], [0] * 5, [0.01, 0, 0, 0.02, 0], [0] * 5]), PAIR)]
    )
    figure = mapping_matrix(weights, MAPPING_UNITS, UNITS, "conv1", "net1", "net2", SPARSE_DECAY)
    below = figure.subfigs[1].axes
    # Unit 2 now has five predictors: those with 2 to 4 come first, by r2.
    assert [below[0].get_title(), below[6].get_title()] == ["net2\n0", "net2\n1"]
    only = MAPPING_UNITS[MAPPING_UNITS["target_unit"] == 2]
    of_unit = mapping_matrix(weights, only, UNITS, "conv1", "net1", "net2", SPARSE_DECAY).subfigs[1].axes
    assert of_unit[0].texts[0].get_text() == "r² 0.60; and 1 smaller weight"


def test_examples_show_patches_or_filters(tmp_path: Path) -> None:
    rows = [
        (net, unit, rank)
        for net, count in (("net1", SOURCES), ("net2", TARGETS))
        for unit in range(count)
        for rank in (1, 2)
    ]
    keys = pd.DataFrame(rows, columns=["net", "unit", "rank"]).assign(layer="conv1")
    patches = keys.assign(y0=0, x0=0, y1=5, x1=5)
    drives = [png((0, 0, 40 * unit), 5, 5) for unit in keys["unit"]]
    pictures = keys.assign(label=0, method="deconvnet", patch=png((255, 0, 0), 5, 5), drive=drives)
    filters = {"net1": np.random.default_rng(0).random((SOURCES, 3, 2, 2))}
    shown = Portraits(patches, pictures, filters).of("conv1", [("net1", 3), ("net2", 1)])
    assert {unit: picture[len(picture) // 2 + 10, 5].tolist() for unit, picture in shown.items()} == {
        ("net1", 3): [0, 0, 120],
        ("net2", 1): [0, 0, 40],
    }
    scaled = Portraits(filters=filters).of("conv1", [("net1", 3), ("net2", 1)])
    assert [*scaled] == [("net1", 3)]
    picture = scaled["net1", 3]
    assert (picture.shape, picture.min(), picture.max()) == ((2, 2, 3), 0, 255)
    assert picture.argmax() == filters["net1"][3].transpose(1, 2, 0).argmax()
    figures = planned(tmp_path, mappings(), top_patches=patches, patch_pictures=pictures, filters=filters)
    drawn = figures["figure-06-mapping-conv1"]().subfigs[1].axes
    assert [len(axes.images) for axes in drawn] == [1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0]
    assert "deconvnet" in figures["figure-07-agglomeration-conv1"]().get_supxlabel()
