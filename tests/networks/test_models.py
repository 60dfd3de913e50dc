"""The networks against PyTorch's own layers, the paper's shapes, and wrong names."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from raycv.errors import UserError
from raycv.networks.alexnet import LocalResponseNorm
from raycv.networks.catalogue import check_model
from raycv.networks.models import build, load_weights
from raycv.networks.spec import ALEXNET_LAYERS, NetworkSpec
from raycv.networks.taps import Taps
from tests.support.runs import spec as described


def spec(
    model: str = "small-alexnet", *, width: int | None = 6, layers: tuple[str, ...] = ALEXNET_LAYERS
) -> NetworkSpec:
    return described(1, width, layers, model)


@pytest.mark.parametrize("channels", [1, 4, 24])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_local_response_norm_is_pytorchs(channels: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = (30 * torch.randn(3, channels, 5, 7)).to(memory_format=layout).requires_grad_()
    ours, theirs = LocalResponseNorm()(x), F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    towards = torch.randn_like(ours)
    (our_gradient,) = torch.autograd.grad(ours, x, towards)
    (their_gradient,) = torch.autograd.grad(theirs, x, towards)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-4, atol=1e-5)


def test_local_response_norm_gradient_is_the_derivative() -> None:
    x = (5 * torch.randn(1, 6, 2, 2, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(LocalResponseNorm(), (x,))


def test_local_response_norm_adds_squares_in_float32_in_mixed_precision() -> None:
    rounded = (30 * torch.randn(3, 16, 5, 7)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = LocalResponseNorm()(rounded)
    torch.testing.assert_close(found, LocalResponseNorm()(rounded.float()), rtol=0, atol=0)


def test_the_papers_network_has_the_papers_shape() -> None:
    """Paper, section 2: units 96 to 1000 and spatial extents 55, 27, 13, 13, 13."""
    with torch.device("meta"):
        net = build(spec("alexnet", width=96).model_copy(update={"classes": 1000}))
        found = Taps(net, ALEXNET_LAYERS, "fc8")(torch.empty(2, 3, 227, 227))
    assert {layer: tuple(value.shape[1:]) for layer, value in found.items()} == {
        "conv1": (96, 55, 55),
        "conv2": (256, 27, 27),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "fc6": (4096,),
        "fc7": (4096,),
        "fc8": (1000,),
    }
    assert net.get_parameter("conv2.0.weight").shape == (256, 96, 5, 5)  # ungrouped
    order = [name for name, _ in net.named_children()]
    assert order.index("pool1") < order.index("norm1")


def test_caffes_initialisation() -> None:
    net = build(spec("alexnet", width=96))
    for layer, std, bias in (("conv1", 0.01, 0.0), ("conv2", 0.01, 1.0), ("fc7", 0.005, 1.0)):
        weight, constant = net.get_submodule(f"{layer}.0").parameters()
        assert weight.std().item() == pytest.approx(std, rel=0.02)
        assert (constant == bias).all()


def test_taps_are_after_the_relu_but_for_the_logits() -> None:
    net = build(spec())
    images = torch.randn(4, 3, 32, 32)
    found = Taps(net, ALEXNET_LAYERS, "fc8")(images)
    for layer in ALEXNET_LAYERS[:-1]:
        assert found[layer].min() >= 0
        assert found[layer].max() > 0
    torch.testing.assert_close(found["fc8"], net(images))
    assert found["conv1"].is_contiguous(memory_format=torch.channels_last)


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(99)
    first = build(spec()).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(99)
    assert torch.rand(1) == drawn  # building leaves the caller's generator alone
    again, other = build(spec()).state_dict(), build(spec().model_copy(update={"seed": 2})).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_torchvision_taps_see_what_forward_computes() -> None:
    """An in-place ReLU must not overwrite the tapped output of the convolution before it."""
    described = spec("resnet18", width=None, layers=("conv1", "layer1", "logits"))
    net = build(described)
    images = torch.randn(2, 3, 64, 64)
    found = Taps(net, described.layers, described.output)(images)
    torch.testing.assert_close(found["conv1"], net.get_submodule("conv1")(images))
    torch.testing.assert_close(found["logits"], net(images))


def test_activations_before_a_relu_are_tapped_where_a_module_makes_them() -> None:
    """Also at the end of a residual block, where one ReLU module runs twice."""
    layers = ("conv1", "relu", "layer1.1", "logits")
    described = spec("resnet18", width=None, layers=layers)
    net = build(described)
    images = torch.randn(2, 3, 64, 64)
    found = Taps(net, layers, described.output).with_before(images)
    assert found["conv1"].before is None
    assert found["logits"].before is None
    for layer in ("relu", "layer1.1"):
        before = found[layer].before
        assert before is not None
        assert (before.values < 0).any()
        torch.testing.assert_close(before.values.relu(), found[layer].values)
    small = spec()
    own = Taps(build(small), small.layers, "fc8").with_before(torch.randn(2, 3, 32, 32))
    assert [layer for layer, tapped in own.items() if tapped.before is None] == ["fc8"]


def test_transformer_tokens_are_positions() -> None:
    described = spec("vit_b_32", width=None, layers=("encoder.layers.encoder_layer_0",))
    with torch.device("meta"):
        net = build(described)
        found = Taps(net, described.layers, described.output)(torch.empty(2, 3, 224, 224))
    assert found["encoder.layers.encoder_layer_0"].shape == (2, 768, 50)


def test_a_layer_that_runs_twice_is_refused() -> None:
    described = spec("resnet18", width=None, layers=("layer1.0.relu",))
    with pytest.raises(UserError, match="'layer1.0.relu' runs 2 times"):
        Taps(build(described), described.layers, described.output)(torch.randn(1, 3, 64, 64))


def test_wrong_names_say_what_there_is() -> None:
    with pytest.raises(UserError, match="no layer 'conv9'; its layers are: conv1, "):
        build(spec(layers=("conv9",)))
    with pytest.raises(UserError, match="no model 'alexnot'; choose small-alexnet, alexnet, .*resnet18"):
        check_model("alexnot")


def test_weights_that_do_not_fit_say_why() -> None:
    weights = dict(build(spec()).state_dict())
    net = load_weights(spec(), weights)
    assert torch.equal(net.get_parameter("fc8.bias"), weights["fc8.bias"])
    with pytest.raises(UserError, match=r"conv1.0.weight has shape \(6, 3, 5, 5\), expected \(9, 3, 5, 5\)"):
        load_weights(spec(width=9), weights)
    with pytest.raises(UserError, match=r"has no entry 'fc8.bias'"):
        load_weights(spec(), {k: v for k, v in weights.items() if k != "fc8.bias"})


def test_a_late_relu_changes_nothing() -> None:
    """In training an AlexNet pools before its ReLUs; values and gradients are those of the modules in their order."""
    net = build(spec()).train()
    assert isinstance(net, nn.Sequential)
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for forward in (net, partial(nn.Sequential.forward, net)):
        torch.manual_seed(1)  # of the dropout
        logits = forward(x)
        found.append([logits.detach(), *torch.autograd.grad(logits.square().sum(), list(net.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
