"""Filters side by side: each picture is its filter, and equal places show matched units."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from raycv.drawing.filters import first_layer_filters, smoothness
from raycv.drawing.undrawable import Undrawable


def kernels(units: int = 4, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((units, channels, 5, 5)).astype(np.float32)


def pictures(axes: Axes) -> dict[int, np.ndarray]:
    """Unit number, as written above it -> the picture that stands beneath."""
    columns = {round(float(text.get_position()[0]), 3): int(text.get_text()) for text in axes.texts}
    assert len(columns) == len(axes.images)
    found = {}
    for image in axes.images:
        left, right, _, _ = image.get_extent()
        found[columns[round((left + right) / 2, 3)]] = np.asarray(image.get_array())
    return found


def test_every_filter_is_scaled_to_its_own_range() -> None:
    given = kernels()
    (axes,) = first_layer_filters({"net1": given}).axes
    shown = pictures(axes)
    assert sorted(shown) == [0, 1, 2, 3]
    for unit, picture in shown.items():
        kernel = given[unit].transpose(1, 2, 0)
        np.testing.assert_allclose(picture, (kernel - kernel.min()) / np.ptp(kernel), atol=1e-6)


def test_other_than_three_channels_are_drawn_by_the_first_in_grey() -> None:
    given = kernels(channels=2)
    (axes,) = first_layer_filters({"net1": given}).axes
    for unit, picture in pictures(axes).items():
        first = given[unit, 0]
        for channel in range(3):
            np.testing.assert_allclose(picture[..., channel], (first - first.min()) / np.ptp(first), atol=1e-6)


def test_a_filter_of_one_value_is_mid_grey() -> None:
    (axes,) = first_layer_filters({"net1": np.zeros((1, 3, 5, 5))}).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), np.full((5, 5, 3), 0.5))


def test_equal_places_show_matched_units() -> None:
    filters = {"net1": kernels(seed=1), "net2": kernels(5, seed=2)}
    order = {"net1": np.array([2, 0, 3, 1]), "net2": np.array([4, -1, 0, 2])}
    figure = first_layer_filters(filters, order)
    assert [axes.get_ylabel() for axes in figure.axes] == ["net1", "net2"]
    first, second = (
        {round(float(text.get_position()[0]) - 0.5): int(text.get_text()) for text in axes.texts}
        for axes in figure.axes
    )
    assert first == {0: 2, 1: 0, 2: 3, 3: 1}
    assert second == {0: 4, 2: 0, 3: 2, 4: 1, 5: 3}  # units that the order leaves out stand last
    (cross,) = figure.axes[1].lines
    assert cross.get_marker() == "x"
    assert list(cross.get_xdata()) == [1.5]  # type: ignore[arg-type]
    for net, axes in zip(filters, figure.axes, strict=True):
        for unit, picture in pictures(axes).items():
            kernel = filters[net][unit].transpose(1, 2, 0)
            np.testing.assert_allclose(picture, (kernel - kernel.min()) / np.ptp(kernel), atol=1e-6)
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "3 of 4 places hold a matched unit in every network" in caption


def test_many_filters_fill_several_rows_without_overlap() -> None:
    (axes,) = first_layer_filters({"net1": kernels(96)}).axes
    corners = {(round(image.get_extent()[0], 2), round(image.get_extent()[3], 2)) for image in axes.images}
    assert len(corners) == 96
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    assert max(image.get_extent()[1] for image in axes.images) < right <= 24
    assert max(image.get_extent()[2] for image in axes.images) < bottom


@pytest.mark.parametrize(
    ("filters", "order", "message"),
    [
        ({}, None, "no filters"),
        ({"net1": np.zeros((4, 75))}, None, r"net1 have shape \(4, 75\); four axes"),
        ({"net1": np.zeros((0, 3, 5, 5))}, None, "none of them empty"),
        ({"net1": np.full((4, 3, 5, 5), np.nan)}, None, "net1 hold values that are not finite"),
        ({"net1": kernels()}, {"net2": np.arange(4)}, "lacks net1"),
        ({"net1": kernels()}, {"net1": np.array([0, 4])}, "above 3"),
        ({"net1": kernels()}, {"net1": np.array([0, 0])}, "twice"),
        ({"a": kernels(), "b": kernels()}, {"a": np.arange(4), "b": np.arange(3)}, "same number of places"),
    ],
)
def test_bad_input(filters: dict[str, np.ndarray], order: dict[str, np.ndarray] | None, message: str) -> None:
    with pytest.raises(Undrawable, match=message):
        first_layer_filters(filters, order)


def test_smoothness_is_0_of_noise_and_near_1_of_edges() -> None:
    noise = np.random.default_rng(0).standard_normal((200, 3, 7, 7))
    assert abs(smoothness(noise)) < 0.02
    assert smoothness(np.ones((2, 3, 5, 5))) == pytest.approx(1)
    edges = np.sin(np.arange(11) / 2)[:, None] * np.ones((1, 3, 11, 11))
    assert smoothness(edges) > 0.8
    assert np.isnan(smoothness(np.ones((2, 3, 1, 1))))
    said = first_layer_filters({"a": noise, "b": edges}).get_supxlabel().replace("\n", " ")
    assert f"{smoothness(noise):.2f} (a) to {smoothness(edges):.2f} (b)" in said
