"""When a partner is settled, against a search through all epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycv.analysis.matching import Matching
from raycv.drawing.undrawable import Undrawable
from raycv.stages.align.epochs import settled_epochs
from raycv.stages.align.figures.epochs import through_training

LAYERS = ["features.3", "features.10"]  # not in the order of the alphabet


@given(st.lists(st.lists(st.integers(-1, 2), min_size=4, max_size=4), min_size=1, max_size=5))
def test_a_partner_is_settled_from_the_first_epoch_without_another(columns: list[list[int]]) -> None:
    epochs = {3 * place: Matching(np.array(partners), np.zeros(4)) for place, partners in enumerate(columns)}
    for unit, settled in enumerate(settled_epochs(epochs)):
        alike = [
            epoch
            for epoch in epochs
            if {later.columns[unit] for at, later in epochs.items() if at >= epoch} == {columns[-1][unit]}
        ]
        assert settled == min(alike)


def test_lines_are_means_over_pairs() -> None:
    rng = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product([LAYERS, [0, 2, 8], ["net1", "net2"]], names=["layer", "epoch", "net_a"])
    rows = keys.to_frame(index=False)
    for column in ("mean", "excess", "prerelu_excess", "settled", "effective_dimension"):
        rows[column] = rng.uniform(0, 1, len(rows))
    training = pd.DataFrame({"net": "net1", "epoch": [1, 2, 8], "validation_top1": [0.2, 0.3, 0.5]})
    figure = through_training(rows, training)
    excess = {line.get_label(): line for line in figure.axes[1].lines}
    for layer in LAYERS:
        expected = rows[rows["layer"] == layer].groupby("epoch")["excess"].mean()
        np.testing.assert_allclose(np.asarray(excess[layer].get_ydata(), dtype=float), expected)
    np.testing.assert_allclose(np.asarray(figure.axes[5].lines[0].get_ydata(), dtype=float), [20, 30, 50])
    assert "30.0% after 2, 50.0% after 8" in figure.get_supxlabel().replace("\n", " ")
    with pytest.raises(Undrawable, match="kept no earlier epochs"):
        through_training(rows[rows["epoch"] == 8], training)
