"""Training curves: one line per network, in percent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.train.figures.training import training_curves


@pytest.fixture
def training() -> pd.DataFrame:
    """Two networks, of which the second stopped one epoch earlier."""
    accuracies = {"net2": [0.2, 0.4], "net10": [0.1, 0.3, 0.5]}
    rows = [
        {"net": net, "seed": 0, "epoch": epoch, "train_loss": 1.0, "validation_loss": 1.0, "validation_top1": top1}
        for net, curve in accuracies.items()
        for epoch, top1 in enumerate(curve, start=1)
    ]
    return pd.DataFrame(rows).assign(seconds=1.0)


def test_curves(training: pd.DataFrame) -> None:
    shuffled = training.iloc[[1, 4, 0, 3, 2]]
    (axes,) = training_curves(shuffled).axes
    curves = {
        line.get_label(): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
        for line in axes.lines
    }
    assert curves == {
        "net2": ([1, 2], pytest.approx([20, 40])),
        "net10": ([1, 2, 3], pytest.approx([10, 30, 50])),
    }
    assert axes.get_xlabel() == "epoch"
    assert axes.get_ylabel() == "validation top-1 (%)"
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 2


def test_caption_gives_the_last_accuracy_of_every_network(training: pd.DataFrame) -> None:
    caption = training_curves(training).get_supxlabel().replace("\n", " ")
    assert caption == "After the last epoch: net2 40.0%, net10 50.0%; best and worst differ by 10.0 points."
    alone = training_curves(training[training["net"] == "net2"]).get_supxlabel()
    assert alone == "After the last epoch: net2 40.0%."


def test_no_accuracies(training: pd.DataFrame) -> None:
    with pytest.raises(Undrawable, match="no accuracies"):
        training_curves(training.assign(validation_top1=np.nan))
