"""The figure of networks together: its points are the tables' rows."""

from __future__ import annotations

import numpy as np
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.ensemble.figures.together import together
from tests.support.effects import effect_tables

NAMES = ("ensembles", "ensemble_agreement", "combinations")


def test_points_are_sets_pairs_and_read_outs() -> None:
    tables = effect_tables(("conv1", "fc7"), ("net1", "net2", "net3"))
    ensembles, agreement, combinations = (tables[name] for name in NAMES)
    sizes, alike, joined = together(ensembles, agreement, combinations).axes
    (line,) = [line for line in sizes.lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(
        np.asarray(line.get_ydata(), dtype=float), 100 * ensembles.groupby("size")["top1"].mean()
    )
    (points,) = alike.lines
    pairs = ensembles[ensembles["size"] == 2].set_index("nets")
    np.testing.assert_allclose(np.asarray(points.get_ydata(), dtype=float), 100 * pairs["top1_gain"])
    np.testing.assert_allclose(
        np.asarray(points.get_xdata(), dtype=float), agreement.groupby("nets")["agreement"].mean()[pairs.index]
    )
    assert [tick.get_text() for tick in joined.get_yticklabels()][-1] == "one network, 9"
    assert joined.lines[-1].get_xdata() == pytest.approx(
        100 * combinations.loc[combinations["way"] == "alone", "top1"].mean()
    )
    assert together(ensembles, agreement, combinations[:0]).axes[2].texts[0].get_text() == "no training images"
    with pytest.raises(Undrawable, match="no ensembles"):
        together(ensembles[ensembles["size"] == 1], agreement, combinations)
