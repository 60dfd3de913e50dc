"""Receptive fields against the arithmetic of strides, networks whose pixels are changed, and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from raycv.networks.layouts import ask_units
from raycv.networks.models import build
from raycv.networks.receptive import receptive_fields, trace
from raycv.networks.spec import NetworkSpec
from raycv.networks.taps import Taps
from tests.support.runs import spec as described

# Kernel, stride, padding of what stands before each layer.
SMALL = {
    "conv1": [(5, 1, 2)],
    "conv2": [(5, 1, 2), (3, 2, 0), (5, 1, 2)],
    "conv3": [(5, 1, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1)],
}
PAPER = {
    "conv1": [(11, 4, 0)],
    "conv2": [(11, 4, 0), (3, 2, 0), (5, 1, 2)],
    "conv5": [(11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1)],
}


def spec(model: str, layers: tuple[str, ...], width: int | None = 4) -> NetworkSpec:
    return described(1, width, layers, model)


@pytest.mark.parametrize(("model", "stacks", "extent"), [("small-alexnet", SMALL, 32), ("alexnet", PAPER, 227)])
def test_strides_and_kernels_multiply(model: str, stacks: dict[str, list[tuple[int, int, int]]], extent: int) -> None:
    found = receptive_fields(spec(model, tuple(stacks)))
    for layer, stack in stacks.items():
        size, jump, start, positions = 1, 1, 0, extent
        for kernel, stride, padding in stack:
            size += (kernel - 1) * jump
            start -= padding * jump
            jump *= stride
            positions = (positions + 2 * padding - kernel) // stride + 1
        first = start + jump * np.arange(positions)
        expected = np.stack([np.maximum(first, 0), np.minimum(first + size, extent)], 1)
        np.testing.assert_array_equal(found[layer].rows, expected)
        np.testing.assert_array_equal(found[layer].columns, expected)


def edges(box: dict[str, int], extent: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(axis, line) of the outermost lines of pixels inside a box, and of those just outside it."""
    inside = [(0, box["y0"]), (0, box["y1"] - 1), (1, box["x0"]), (1, box["x1"] - 1)]
    outside = [(0, box["y0"] - 1), (0, box["y1"]), (1, box["x0"] - 1), (1, box["x1"])]
    return inside, [(axis, line) for axis, line in outside if 0 <= line < extent]


@pytest.mark.parametrize(
    ("model", "layers"),
    [("small-alexnet", ("conv1", "conv2", "conv5", "fc7")), ("alexnet", ("conv1", "conv3", "conv5", "fc6"))],
)
def test_boxes_end_where_pixels_begin_to_matter(model: str, layers: tuple[str, ...]) -> None:
    """In the real network, with weights that are not negative so that nothing can hide behind a ReLU."""
    about = spec(model, layers, 3)
    net = build(about)
    with torch.no_grad():
        for weights in net.parameters():
            weights.abs_()
    taps, extent = Taps(net, layers, about.output), about.preprocessing.crop
    image = torch.rand(3, extent, extent, generator=torch.Generator().manual_seed(0))
    for layer, fields in receptive_fields(about).items():
        high, wide = len(fields.rows), len(fields.columns)
        corners = {0, wide - 1, high * wide - wide, high * wide - 1}
        for position in sorted(corners | {wide // 2, (high // 2) * wide + wide // 2}):
            box = {name: int(values[0]) for name, values in fields.boxes(np.array([position])).items()}
            inside, outside = edges(box, extent)
            lines = inside + outside
            inputs = image.repeat(1 + len(lines), 1, 1, 1)
            for changed, (axis, line) in zip(inputs[1:], lines, strict=True):
                changed.select(1 + axis, line).add_(30.0)
            values = taps(inputs)[layer].reshape(len(inputs), -1, high * wide)[:, :, position]
            change = ((values[1:] - values[0]).abs() / values[0]).amax(1)
            assert (change[: len(inside)] > 1e-4).all(), (layer, position)
            assert (change[len(inside) :] < 1e-6).all(), (layer, position)


def test_pixels_of_the_box_are_those_with_a_gradient() -> None:
    """Without rectification and with averages for maxima, the gradient reaches exactly what is seen."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=2),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(4, 5, 4, padding=1),
    )
    found = trace(Taps(net, ("0", "1", "2"), "2"), 29)
    for depth, fields in enumerate(found.values(), 1):
        for position in range(0, len(fields.rows) * len(fields.columns), 5):
            image = torch.zeros(1, 3, 29, 29, requires_grad=True)
            box = {name: int(values[0]) for name, values in fields.boxes(np.array([position])).items()}
            net[:depth](image)[0, :, box["row"], box["col"]].sum().backward()
            assert image.grad is not None
            rows, columns = (image.grad[0].abs().sum((0, other)).nonzero().ravel() for other in (2, 1))
            assert [int(rows.min()), int(rows.max()) + 1] == [box["y0"], box["y1"]]
            assert [int(columns.min()), int(columns.max()) + 1] == [box["x0"], box["x1"]]


def test_boxes_do_not_depend_on_the_convolution_used() -> None:
    """Without oneDNN PyTorch transforms whole tiles where it may."""
    layers = ("conv2", "conv4")
    taps = Taps(build(spec("small-alexnet", layers)), layers, "fc8")
    expected = trace(taps, 32)
    with torch.backends.mkldnn.flags(enabled=False):
        for layer, fields in trace(taps, 32).items():
            np.testing.assert_array_equal(fields.rows, expected[layer].rows)
            np.testing.assert_array_equal(fields.columns, expected[layer].columns)


class Tokens(nn.Module):
    """A token for each of four quarters of the image and one that sees nothing, as a transformer's class token."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quarters = nn.functional.adaptive_avg_pool2d(x, 2).flatten(2).transpose(1, 2)
        return torch.cat([torch.zeros_like(quarters[:, :1]), quarters], 1)


def test_positions_without_a_place_of_their_own_are_given_the_whole_input() -> None:
    net = nn.Sequential(Tokens())
    ask_units(net, {"0": 2})
    tokens = trace(Taps(net, ("0",), "0"), 6)["0"]
    assert tokens.rows.tolist() == [[0, 6]]
    assert tokens.columns.tolist() == [[0, 6]] * 5
    on_padding = trace(Taps(nn.Sequential(nn.Conv2d(3, 2, 1, padding=1)), ("0",), "0"), 3)["0"]
    assert on_padding.rows.tolist() == [[0, 3], [0, 1], [1, 2], [2, 3], [0, 3]]


def test_fully_connected_layers_see_everything_and_branches_are_followed() -> None:
    fields = receptive_fields(spec("small-alexnet", ("fc6", "fc8")))
    for layer in ("fc6", "fc8"):
        assert fields[layer].rows.tolist() == [[0, 32]]
        assert fields[layer].columns.tolist() == [[0, 32]]
    resnet = build(spec("resnet18", ("layer1.0",), None)).get_submodule
    start = nn.Sequential(*(resnet(name) for name in ("conv1", "bn1", "relu", "maxpool", "layer1.0")))
    residual = trace(Taps(start, ("4",), "4"), 64)["4"]
    # conv 7/2, pool 3/2, then two 3x3: 7 + 2 * 2 + 4 * 2 + 4 * 2 = 27 pixels, by 4.
    assert residual.rows[8].tolist() == [4 * 8 - 13, 4 * 8 + 14]
    assert residual.rows[0].tolist() == [0, 14]
