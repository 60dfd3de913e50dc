"""Figure 6 and the figures of section 4 together: what is drawn must be what the tables say."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from raycv.analysis.agglomeration import agglomerate
from raycv.errors import UserError
from raycv.figures.mapping import aligned_order, example_units, mapping_figures, mapping_matrix, weight_matrix
from raycv.figures.portraits import portrait
from raycv.figures.table1 import SPARSE
from tests.figures.test_table1 import mappings

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
        "decay": SPARSE,
        "target_unit": range(TARGETS),
        "r2": [0.9, 0.5, 0.7, 0.0],
        "heldout_r2": [0.8, 0.4, 0.6, -0.1],
    }
)


def nonzeros(matrix: np.ndarray, pair: dict[str, str], **about: Any) -> pd.DataFrame:
    """Rows of the table mapping_weights."""
    target, source = np.nonzero(matrix)
    rows = pair | {"solver": "exact", "decay": SPARSE} | about
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
        columns = {name: merges[:, i] for i, name in enumerate(("left", "right", "weight", "size"))}
        frames.append(pd.DataFrame(PAIR | {"decay": SPARSE, "reverse": reverse, "merge": range(len(merges))} | columns))
    return pd.concat(frames)


def png(colour: tuple[int, int, int], width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_matrix_is_that_of_the_pair_decay_and_optimum() -> None:
    np.testing.assert_allclose(weight_matrix(WEIGHTS, UNITS, "conv1", "net1", "net2", SPARSE), FORWARD, rtol=1e-6)
    with pytest.raises(UserError, match="net3"):
        weight_matrix(WEIGHTS, UNITS, "conv1", "net1", "net3", SPARSE)


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
    figure = mapping_matrix(WEIGHTS, MAPPING_UNITS, UNITS, "conv1", "net1", "net2", SPARSE)
    above, *below = figure.subfigs
    plain, permuted = above.axes[:2]
    np.testing.assert_allclose(np.asarray(plain.images[0].get_array()), FORWARD, rtol=1e-6)
    rows, columns = aligned_order(FORWARD)
    np.testing.assert_allclose(np.asarray(permuted.images[0].get_array()), FORWARD[np.ix_(rows, columns)], rtol=1e-6)
    names = [[axes.get_title() for axes in part.axes] for part in below]
    assert names[0] == [
        "net2 unit 2\n60% predicted by",
        "+0.90\nnet1 unit 1",
        "+0.20\nnet1 unit 2",
        "+0.10\nnet1 unit 4",
        "",
    ]
    assert names[1][:3] == ["net2 unit 1\n40% predicted by", "+0.60\nnet1 unit 0", "-0.30\nnet1 unit 3"]
    assert [frame.get_y() for frame in plain.patches] == [1.5, 0.5]  # type: ignore[attr-defined]
    assert [frame.get_y() for frame in permuted.patches] == [-0.5, 1.5]  # type: ignore[attr-defined]


def test_all_figures_come_in_one_call_and_absent_ones_are_left_out() -> None:
    figures = mapping_figures(mappings(), WEIGHTS, MAPPING_UNITS, trees(), UNITS, "conv1", "net1", "net2")
    assert list(figures) == [
        "table-1",
        "table-1-curves",
        "table-1-optimiser",
        "figure-06-mapping-conv1",
        "figure-07-agglomeration-conv1",
        "figure-07-agglomeration-conv1-both-ways",
    ]
    only = mappings().query("solver == 'sgd'")
    assert list(mapping_figures(only, WEIGHTS, MAPPING_UNITS, trees(), UNITS, "conv1", "net1", "net2")) == [
        "table-1",
        "table-1-curves",
    ]


def test_a_portrait_holds_nine_patches_by_rank_and_what_drives_them() -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    patches = pd.DataFrame(
        {
            "net": "net1",
            "unit": 7,
            "rank": range(9, 0, -1),
            "patch": [*[png(blue, 5, 5)] * 8, png(red, 5, 3)],
            "drive": [png((128, 128, 128), 5, 5)] * 9,
        }
    )
    picture = portrait("net1", 7, patches, None)
    assert picture is not None
    assert picture[24, 24].tolist() == [255, 0, 0]  # rank 1 stands first
    assert picture[2, 24].tolist() == [255, 255, 255]  # it is three pixels high where others have five
    assert picture[24, 75].tolist() == [0, 0, 255]
    assert picture[-1, -1].tolist() == [128, 128, 128]
    filters = {"net1": np.stack([np.zeros((3, 2, 2)), np.arange(12.0).reshape(3, 2, 2)])}
    scaled = portrait("net1", 1, patches, filters)
    assert scaled is not None
    assert (scaled.shape, scaled.min(), scaled.max()) == ((2, 2, 3), 0, 255)
    assert portrait("net2", 1, patches, filters) is None
