"""What is tapped is what a module returned, at the moment it returned, with the units on the second axis."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raycv.cli import main
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.layers import layers_of
from raycv.networks.models import build, hollow
from raycv.networks.spec import NetworkSpec
from raycv.networks.taps import Taps, activation
from raycv.networks.unit_axis import FIRST, LAST, units_of

# One of each family, the smallest that has all its kinds of blocks.
MODELS = (
    "resnet18",
    "resnext50_32x4d",
    "googlenet",
    "inception_v3",
    "efficientnet_b0",
    "convnext_tiny",
    "densenet121",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vit_b_32",
    "vgg11_bn",
    "maxvit_t",
)
# Of other families, or built in another way than the small ones.
LARGER = (
    "convnext_base",
    "densenet161",
    "efficientnet_v2_s",
    "mobilenet_v2",
    "regnet_x_8gf",
    "regnet_y_128gf",
    "resnet152",
    "shufflenet_v2_x2_0",
    "swin_v2_b",
    "vgg19",
    "vit_h_14",
    "wide_resnet50_2",
)
HALF = {"maxvit_t": 224, "vit_b_32": 224}  # these take images of one size


def spec_of(model: str, layers: tuple[str, ...] = ("logits",)) -> NetworkSpec:
    return NetworkSpec(name="a", model=model, classes=5, seed=1, layers=layers, preprocessing=preprocessing_of(model))


def returned(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """A copy of what every module returns in each of its calls, made as it returns."""
    found: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            calls[name] += 1
            tensor = out[0] if isinstance(out, tuple) else out
            found[f"{name}#{calls[name]}"] = tensor.clone()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in net.named_modules() if name]
    with torch.inference_mode():
        net(images)
    for handle in handles:
        handle.remove()
    return {name.removesuffix("#1") if calls[name.partition("#")[0]] == 1 else name: out for name, out in found.items()}


@pytest.mark.parametrize("model", MODELS)
def test_every_module_is_tapped_as_it_was_when_it_returned(model: str) -> None:
    layers = tuple(layer for layer in layers_of(spec_of(model)) if layer != "logits")
    net = build(spec_of(model, layers))
    size = HALF.get(model, 96)
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = returned(net, images)
    found = Taps(net, layers, "logits")(images)
    assert len(layers) > 20
    for layer in layers:
        values = expected[layer]
        axis = next(axis for axis in (1, values.ndim - 1) if torch.equal(found[layer], values.movedim(axis, 1)))
        module = net.get_submodule(layer.partition("#")[0])
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            assert axis == (values.ndim - 1 if isinstance(module, nn.Linear) else 1), layer


@pytest.mark.parametrize(
    ("model", "layer", "units"),
    [
        ("swin_t", "features.1", 96),
        ("swin_t", "features.1.0.attn", 96),
        ("swin_t", "features.7.1", 768),
        ("convnext_tiny", "features.0", 96),
        ("convnext_tiny", "features.1.0", 96),
        ("convnext_tiny", "features.1.0.block.3", 384),
        ("vit_b_32", "encoder.layers.encoder_layer_3", 768),
        ("maxvit_t", "blocks.0.layers.0", 64),
        ("resnet18", "layer1.0.bn2", 64),
        ("resnet18", "avgpool", 512),
    ],
)
def test_the_units_are_found(model: str, layer: str, units: int) -> None:
    spec = spec_of(model, (layer,))
    assert layers_of(spec)[layer].units == units
    net, size = build(spec), HALF.get(model, 64)
    images = torch.randn(2, 3, size, size)
    assert activation(net, layer, "logits", images).shape[1] == units
    assert Taps(net, (layer,), "logits")(images)[layer].shape[1] == units


def test_the_command_prints_the_layers_in_the_order_in_which_they_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "--model", "resnet18"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("layer1.0")]
    parts = ("", ".conv1", ".bn1", ".relu#1", ".conv2", ".bn2", ".relu#2")
    assert [row[0] for row in rows] == [f"layer1.0{part}" for part in parts]
    assert rows[1][1:] == ["64", "3,136", "36,864", "images,", "units,", "56,", "56"]
    assert main(["layers", "--model", "resnet19"]) == 2
    assert "There is no model 'resnet19'" in capsys.readouterr().err


class Overwritten(nn.Module):
    """Its first layer's output is changed after its ReLU has read it, and so is the ReLU's input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.first(x)
        z: Tensor = self.relu(y)
        y -= 100
        z += 1
        return z.mean((2, 3))


def test_a_relu_and_what_went_into_it_are_kept_as_they_were() -> None:
    net, images = Overwritten(), torch.randn(8, 3, 5, 5)
    with torch.inference_mode():
        first = net.first(images)
    taps = Taps(net, ("first", "relu"), "logits")
    for _ in range(2):
        found = taps.with_before(images)
        torch.testing.assert_close(found["first"].values, first)
        torch.testing.assert_close(found["relu"].values, first.relu())
        before = found["relu"].before
        assert before is not None
        torch.testing.assert_close(before.values, first)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_what_a_normalisation_made_of_the_weights_is_known(inplace: bool, bias: bool) -> None:
    """Values are scale * x + shift, with x the product of the input and weights of length 1."""
    net = nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5), nn.ReLU(inplace), nn.Flatten())
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var.exp_()):
        values += 0.5 * torch.randn(5)
    images = torch.randn(4, 3, 8, 8)
    taps = Taps(net.eval(), ("0", "1", "2"), "logits")
    found = taps.with_before(images)
    with torch.no_grad():
        convolved, normalised = net[0](images), norm(net[0](images))
    torch.testing.assert_close(found["1"].values, normalised)
    before = found["2"].before
    assert before is not None
    assert before.scale is not None
    assert before.shift is not None
    torch.testing.assert_close(before.values, normalised)
    lengths = net[0].get_parameter("weight").detach().flatten(1).norm(dim=1)
    of_units = [values[:, None, None] for values in (lengths, before.scale, before.shift)]
    torch.testing.assert_close(convolved / of_units[0] * of_units[1] + of_units[2], normalised)


def test_a_relu_after_something_else_follows_no_normalisation() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.relu = nn.BatchNorm2d(3), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(x)
            y += x
            return self.relu(y)  # type: ignore[no-any-return]

    before = Taps(Residual().eval(), ("relu",), "logits").with_before(torch.randn(2, 3, 4, 4))["relu"].before
    assert before is not None
    assert (before.values < 0).any()
    assert before.scale is None


@pytest.mark.slow
@pytest.mark.parametrize("model", LARGER)
def test_every_layer_of_torchvisions_models_has_units(model: str) -> None:
    """Without content: convolutions, norms and linear maps say how many units there are."""
    spec = spec_of(model)
    modules = dict(hollow(spec).named_modules())
    found = layers_of(spec)
    assert found
    for layer, (units, *_) in found.items():
        if isinstance(modules.get(layer), FIRST + LAST):
            assert units == units_of(modules[layer]), layer
