"""The most and the least active units: which, in which order, with their means above."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raycv.drawing.undrawable import Undrawable
from raycv.stages.patches.figures.extremes import extreme_filters, extreme_patches, extreme_units
from tests.support.pictures import patch_tables, shown


def units(count: int = 40, layer: str = "conv2") -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"net": net, "layer": layer, "unit": np.arange(count), "mean": generator.exponential(size=count)})
        for net in ("net1", "net2")
    ]
    return pd.concat(frames).sample(frac=1, random_state=1)


def means(rows: pd.DataFrame, net: str) -> np.ndarray:
    return rows[rows["net"] == net].sort_values("unit")["mean"].to_numpy()


def test_most_and_least_active_units_by_falling_mean() -> None:
    rows = units()
    found = extreme_units(rows, "conv2")
    for net, of_net in found.groupby("net"):
        order = np.argsort(-means(rows, str(net)))
        assert of_net["unit"].tolist() == [*order[:8], *order[-8:]]
        assert of_net["is_most"].tolist() == [True] * 8 + [False] * 8
        np.testing.assert_array_equal(of_net["mean"], means(rows, str(net))[of_net["unit"]])


def test_silent_units_are_left_out_and_none_is_shown_twice() -> None:
    rows = units(12)
    rows.loc[rows["unit"].isin([2, 3, 4]), "mean"] = 0.0
    for _, of_net in extreme_units(rows, "conv2").groupby("net"):
        assert sorted(of_net["unit"]) == [0, 1, 5, 6, 7, 8, 9, 10, 11]
        assert of_net["mean"].is_monotonic_decreasing


def test_one_row_of_patches_a_network() -> None:
    rows = units()
    every = [(net, unit) for net in ("net1", "net2") for unit in range(40)]
    figure = extreme_patches(*patch_tables(every, "conv2"), rows, "conv2")
    found = shown(figure)
    texts = {text.get_text() for text in figure.axes[0].texts}
    nets = list(dict.fromkeys(rows["net"]))
    for place, net in enumerate(nets):
        order = np.argsort(-means(rows, net))
        number = int(net[-1])
        expected = [(number, unit) for unit in [*order[:8], *order[-8:]]]
        assert [(n, unit) for _, _, n, unit in found[16 * place : 16 * place + 16]] == expected
        assert {f"{means(rows, net)[unit]:.2g}\nunit {unit}" for _, unit in expected} <= texts
    highest = max(means(rows, net).max() for net in nets)
    assert f"The highest is {highest:.2g} (" in figure.get_supxlabel().replace("\n", " ")


def test_filters_of_the_first_layer() -> None:
    rows = units(20, "conv1")
    kernels = {net: np.random.default_rng(n).standard_normal((20, 3, 5, 5)) for n, net in enumerate(("net1", "net2"))}
    figure = extreme_filters(kernels, rows, "conv1")
    first = min(figure.axes[0].images, key=lambda image: (image.get_extent()[3], image.get_extent()[0]))
    net = rows["net"].iloc[0]
    kernel = kernels[net][means(rows, net).argmax()].transpose(1, 2, 0)
    np.testing.assert_allclose(np.asarray(first.get_array()), (kernel - kernel.min()) / np.ptp(kernel), atol=1e-6)
    assert len(figure.axes[0].images) == 32


def test_bad_requests_are_refused() -> None:
    with pytest.raises(Undrawable, match="no layer conv9; it has conv2"):
        extreme_units(units(), "conv9")
    with pytest.raises(Undrawable, match="tap layers after their ReLU"):
        extreme_units(units().assign(mean=lambda rows: rows["mean"] - 1), "conv2")
