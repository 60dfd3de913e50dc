"""Receptive fields against the arithmetic of strides and against networks whose pixels are changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raycv.networks import NetworkSpec, Taps, build, preprocessing_of
from raycv.receptive import receptive_fields

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
    return NetworkSpec(
        name="net1",
        model=model,
        classes=10,
        seed=1,
        layers=layers,
        preprocessing=preprocessing_of(model),
        width=width,
    )


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


def test_changing_what_is_outside_the_box_changes_nothing() -> None:
    about = spec("small-alexnet", ("conv2", "conv4"))
    taps = Taps(build(about), about.layers, about.output)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for layer, fields in receptive_fields(about).items():
        width = len(fields.columns)
        for position in (0, width // 2, width * width // 2, width * width - 1):
            box = {name: int(values[0]) for name, values in fields.boxes(np.array([position])).items()}
            other = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
            rows, columns = slice(box["top"], box["bottom"]), slice(box["left"], box["right"])
            other[..., rows, columns] = image[..., rows, columns]
            before, after = (taps(x)[layer][0, :, box["row"], box["column"]] for x in (image, other))
            # Sums may be taken in another order where the values beside are others.
            torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-6)
            inside = image.clone()
            inside[..., rows, columns] += 5.0
            assert (taps(inside)[layer][0, :, box["row"], box["column"]] - before).abs().max() > 1e-3


def test_fully_connected_layers_see_everything_and_branches_are_followed() -> None:
    fields = receptive_fields(spec("small-alexnet", ("fc6", "fc8")))
    for layer in ("fc6", "fc8"):
        assert fields[layer].rows.tolist() == [[0, 32]]
        assert fields[layer].columns.tolist() == [[0, 32]]
    residual = receptive_fields(spec("resnet18", ("layer1.0",), None))["layer1.0"]
    # conv 7/2, pool 3/2, then two 3x3: 7 + 2 * 2 + 4 * 2 + 4 * 2 = 27 pixels, by 4.
    assert residual.rows[20].tolist() == [4 * 20 - 13, 4 * 20 + 14]
    assert residual.rows[0].tolist() == [0, 14]
