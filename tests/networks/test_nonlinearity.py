"""Every non-linearity of the table is what PyTorch's module computes; modules of other libraries are checked."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from raycv.networks.nonlinearity import ELSEWHERE, KNOWN, NonLinearity, computed_by
from raycv.networks.rectified import Before
from raycv.networks.taps import Taps

OTHERS = [
    nn.LeakyReLU(0.3),
    nn.ELU(0.7),
    nn.CELU(0.6),
    nn.GELU(approximate="tanh"),
    nn.Softplus(beta=2, threshold=3),
    nn.Hardtanh(-2, 0.5),
]
NO_ARGUMENTS = ("inplace", "min_value", "max_value", "args", "kwargs")  # and what nn.Module takes
MODULES = [getattr(nn, name)() for name in KNOWN if hasattr(nn, name)] + OTHERS


def tapped(*modules: nn.Module, images: Tensor | None = None) -> Before | None:
    net = nn.Sequential(*modules, nn.Flatten()).eval()
    inputs = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0)) if images is None else images
    layer = str(len(modules) - 1)
    return Taps(net, (layer,), "logits").with_before(inputs)[layer].before


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_the_table_gives_what_the_module_gives(module: nn.Module) -> None:
    found = computed_by(module)
    assert found is not None
    values = torch.linspace(-8, 8, 1001)
    torch.testing.assert_close(NonLinearity.from_text(found.text())(values), module(values.clone()))
    before = tapped(nn.Conv2d(3, 5, 1), module)
    assert before is not None
    assert before.nonlinearity == found


def test_all_that_pytorch_has_with_these_names_take_these_arguments() -> None:
    for name, known in KNOWN.items():
        if hasattr(nn, name):
            told = inspect.signature(getattr(nn, name)).parameters
            assert list(known.arguments) == [one for one in told if one not in NO_ARGUMENTS], name


def test_names_that_are_no_non_linearity_are_refused() -> None:
    with pytest.raises(ValueError, match="system is no known non-linearity"):
        NonLinearity.from_text('["system", "rm"]')


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Own(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:
        return input.abs()


class Named(nn.GELU):
    """Only a name."""


def test_what_a_module_computes_counts_and_not_its_name() -> None:
    found = tapped(nn.Conv2d(3, 5, 1), QuickGELU())
    assert found is not None
    assert found.nonlinearity.name == "QuickGELU"
    assert "GELUActivation" in ELSEWHERE
    false = type("GELUActivation", (QuickGELU,), {"forward": lambda _self, x: x.tanh()})
    assert tapped(nn.Conv2d(3, 5, 1), false()) is None
    assert tapped(nn.Conv2d(3, 5, 1), Own()) is None
    assert tapped(nn.Conv2d(3, 5, 1), Named()) is not None


def test_the_lengths_of_weights_are_told() -> None:
    """values = scale * x + shift, with x the product of the input and weights of length 1; of a ReLU nothing."""
    conv, images = nn.Conv2d(3, 5, 3), torch.randn(4, 3, 8, 8)
    before = tapped(conv, nn.SiLU(inplace=True), images=images)
    assert before is not None
    assert before.scale is not None
    assert before.shift is not None
    unit = conv.weight / conv.weight.flatten(1).norm(dim=1)[:, None, None, None]
    scale, shift = (values[:, None, None] for values in (before.scale, before.shift))
    torch.testing.assert_close(before.values, nn.functional.conv2d(images, unit) * scale + shift)
    rectified = tapped(conv, nn.ReLU(), images=images)
    assert rectified is not None
    assert rectified.scale is None


def test_of_what_else_was_done_to_it_nothing_is_told() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 5, 1), nn.GELU()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            y += 1
            z: Tensor = self.act(y)
            return z

    found = tapped(Shifted())
    assert found is not None
    assert found.scale is None
