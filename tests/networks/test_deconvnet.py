"""Deconvnet pictures against their definition written out, layer by layer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raycv.networks.alexnet import AlexNet
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.deconvnet import Deconvnet
from raycv.networks.models import build
from raycv.networks.receptive import receptive_fields
from raycv.networks.spec import NetworkSpec


def images(count: int, extent: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, extent, extent, generator=torch.Generator().manual_seed(seed))


def numbers(*values: int) -> Tensor:
    return torch.tensor(values)


def weights(net: nn.Module, name: str) -> Tensor:
    return net.get_parameter(f"{name}.weight").detach()


def test_of_one_convolution_it_is_the_filter_where_it_matched() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    x = images(2, 8)
    activations = net(x).detach()
    filters = weights(net, "0")
    deconvnet = Deconvnet(net, "1")
    assert deconvnet.method == "deconvnet"
    pictures = deconvnet("1", x, numbers(1, 3), numbers(2, 5), numbers(4, 0))
    expected = torch.zeros(2, 3, 8, 8)
    expected[0, :, 2:5, 4:7] = activations[0, 1, 2, 4] * filters[1]
    expected[1, :, 5:8, 0:3] = activations[1, 3, 5, 0] * filters[3]
    torch.testing.assert_close(pictures, expected)
    assert pictures.abs().sum() > 0


def test_switches_rectification_and_transposed_filters() -> None:
    """Convolution, ReLU, pooling, convolution, ReLU, fully connected, ReLU: back by unpooling and transposing."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 4, 7),
        nn.ReLU(),
    )
    x = images(3, 8)
    first = F.relu(F.conv2d(x, weights(net, "0"), net.get_parameter("0.bias"), padding=1))
    pooled, switches = F.max_pool2d(first, 2, return_indices=True)
    second = F.relu(F.conv2d(pooled, weights(net, "3"), net.get_parameter("3.bias")))
    last = F.relu(F.linear(second.flatten(1), weights(net, "6"), net.get_parameter("6.bias"))).detach()
    unit = last.argmax(1)

    signal = F.one_hot(unit, 7) * last
    signal = F.relu((signal @ weights(net, "6")).view_as(second))
    signal = F.max_unpool2d(F.conv_transpose2d(signal, weights(net, "3")), switches, [2, 2])
    expected = F.conv_transpose2d(F.relu(signal), weights(net, "0"), padding=1)

    nothing = torch.zeros(3, dtype=torch.long)
    pictures = Deconvnet(net, "7")("7", x, unit, nothing, nothing)
    torch.testing.assert_close(pictures, expected.detach())
    assert (pictures.abs().amax((1, 2, 3)) > 0).all()


def test_guided_backpropagation_where_there_is_more_than_a_deconvnet_knows() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    x = images(2, 6)
    first = net[:3](x)
    value = net(x)[:, 1, 1, 0].detach()
    signal = torch.zeros(2, 2, 2, 2)
    signal[:, 1, 1, 0] = value
    signal = F.relu(F.conv_transpose2d(signal, weights(net, "3"))) * (first > 0)
    scale = weights(net, "1") / torch.sqrt(torch.ones(4) + 1e-5)
    expected = F.conv_transpose2d(signal * scale[:, None, None], weights(net, "0"))
    guided = Deconvnet(net, "3")
    assert guided.method == "guided backpropagation"
    torch.testing.assert_close(guided("3", x, numbers(1, 1), numbers(1, 1), numbers(0, 0)), expected.detach())


def test_networks_without_rectifiers_have_gradients() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU())
    x = images(1, 6).requires_grad_()
    value = net(x)[0, 2, 1, 1]
    (gradient,) = torch.autograd.grad(value, x)
    plain = Deconvnet(net, "1")
    assert plain.method == "gradient"
    torch.testing.assert_close(plain("1", x, numbers(2), numbers(1), numbers(1)), gradient * value.detach())


@pytest.mark.parametrize(
    ("model", "layer", "method"),
    [
        ("small-alexnet", "conv4", "deconvnet"),
        ("alexnet", "conv5", "deconvnet"),
        ("resnet18", "layer1.0", "guided backpropagation"),
    ],
)
def test_pictures_stay_within_the_receptive_field(model: str, layer: str, method: str) -> None:
    spec = NetworkSpec(
        name="net1",
        model=model,
        classes=10,
        seed=3,
        layers=(layer,),
        preprocessing=preprocessing_of(model),
        width=6 if model.endswith("alexnet") else None,
    )
    deconvnet = Deconvnet(build(spec), spec.output)
    assert deconvnet.method == method
    fields = receptive_fields(spec)[layer]
    x = images(2, spec.preprocessing.crop)
    row, column = 0, len(fields.columns) // 2
    drawn = torch.zeros(2, spec.preprocessing.crop, spec.preprocessing.crop)
    for unit in range(4):
        pictures = deconvnet(layer, x, numbers(unit, unit), numbers(row, row), numbers(column, column))
        drawn += pictures.abs().sum(1)
    (top, bottom), (left, right) = fields.rows[row].tolist(), fields.columns[column].tolist()
    assert drawn[:, top:bottom, left:right].sum() > 0
    drawn[:, top:bottom, left:right] = 0
    assert drawn.sum() == 0


def test_normalisation_scales_as_it_did_forward() -> None:
    torch.manual_seed(4)
    net = AlexNet(10, 6, 12, small_images=True).eval()
    x = images(1, 32) * 50
    conv1, pool1, norm1 = (net.get_submodule(name) for name in ("conv1", "pool1", "norm1"))
    pooled = pool1(conv1(x)).detach()
    factor = (norm1(pooled) / pooled)[0, 2, 3, 3]
    without = Deconvnet(nn.Sequential(conv1, pool1), "1")("1", x, numbers(2), numbers(3), numbers(3))
    scaled = Deconvnet(nn.Sequential(conv1, pool1, norm1), "2")("2", x, numbers(2), numbers(3), numbers(3))
    assert factor < 0.999
    torch.testing.assert_close(scaled, without * factor**2)  # of the activation, and of its way back
