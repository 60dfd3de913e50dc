"""The figures of a study: lines and bars against the rows."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.run.schema import GROWING
from raycv.stages.study.figures.growth import growth

LAYERS = ["conv2", "conv1", "fc8"]  # not in the order of the alphabet
WIDTHS, IMAGES = [6, 12, 24], [500, 8000]


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    study = pd.DataFrame(list(itertools.product(IMAGES, WIDTHS, LAYERS)), columns=["images", "width", "layer"])
    for name in GROWING:
        study[name] = rng.uniform(0.2, 0.8, len(study))
        study[f"{name}_low"], study[f"{name}_high"] = study[name] - 0.1, study[name] + 0.2
    return study.assign(untrained_excess=0.04)


@pytest.mark.parametrize(("against", "other"), [("width", "images"), ("images", "width")])
def test_lines_and_bars_are_those_of_the_table(against: str, other: str) -> None:
    study = rows()
    shown = study[study[other] == study[other].max()]
    figure = growth(study, against)
    assert len(figure.axes) == 4
    for axes, name in zip(figure.axes, ["excess", "prerelu_excess", "partner_share", "recurring_share"], strict=True):
        lines = [line for line in axes.lines if line.get_label() in LAYERS]
        assert [line.get_label() for line in lines] == LAYERS
        for line, bars in zip(lines, axes.collections, strict=True):
            of_layer = shown[shown["layer"] == line.get_label()]
            np.testing.assert_array_equal(line.get_ydata(), of_layer[name])
            np.testing.assert_allclose(line.get_xdata() / of_layer[against], 1, atol=0.1)
            ends = np.array([np.asarray(path.vertices)[:, 1] for path in bars.get_paths()])
            np.testing.assert_allclose(ends, of_layer[[f"{name}_low", f"{name}_high"]])
    places = [f"{value:,}" for value in sorted(set(study[against]))]
    assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == places
    caption = figure.get_supxlabel().replace("\n", " ")
    gains = (
        shown[shown[against] == shown[against].max()].set_index("layer")["excess"]
        - (shown[shown[against] == shown[against].min()].set_index("layer")["excess"])
    )
    assert f"{gains.max():+.2f} ({gains.idxmax()})" in caption
    assert f"{shown[other].iloc[0]:,}" in caption


def test_one_value_has_no_growth() -> None:
    study = rows()
    with pytest.raises(Undrawable, match="fewer than two values of images"):
        growth(study[study["images"] == 500], "images")
