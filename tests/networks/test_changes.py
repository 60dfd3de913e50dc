"""Changed activations against networks that are changed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raycv.networks.bench import FoldImages
from raycv.networks.changes import predicted, replaced, scores_of, unchanged
from raycv.networks.cut import Cut
from raycv.networks.evaluation import Scores, score
from raycv.networks.models import build
from tests.support.runs import spec

GENERATOR = torch.Generator().manual_seed(0)
PARTS = [
    FoldImages(fold, torch.randn(6, 3, 32, 32, generator=GENERATOR), torch.randint(0, 10, (6,), generator=GENERATOR))
    for fold in (0, 1, 1)
]


@torch.inference_mode()
def test_a_layer_without_units_is_a_constant() -> None:
    """By hand: whatever the image, conv5 sees the same everywhere."""
    net = build(spec(1, 6))
    units = net.get_submodule("conv4")[0].out_channels  # type: ignore[index]
    values = np.linspace(0, 2, units)
    change = {"all": replaced(np.arange(units), values), "none": unchanged}
    found = scores_of(Cut(net, "conv4"), PARTS, lambda _fold: change)
    rest = list(net.children())[[name for name, _ in net.named_children()].index("conv4") + 1 :]
    constant = torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1).expand(1, -1, 7, 7)
    for module in rest:
        constant = module(constant)
    labels = torch.cat([part.labels for part in PARTS])
    expected = Scores.of(score(constant.expand(len(labels), -1), labels))
    np.testing.assert_allclose(found["all"].losses, expected.losses, rtol=1e-5)
    np.testing.assert_array_equal(found["all"].correct, expected.correct)
    own = Scores.of(score(torch.cat([net(part.inputs) for part in PARTS]), labels))
    np.testing.assert_allclose(found["none"].losses, own.losses, rtol=1e-6)
    np.testing.assert_array_equal(found["none"].images, own.images)


@pytest.mark.parametrize("layer", ["conv2", "fc6"])
def test_predicted_units_are_affine_in_the_others_at_every_position(layer: str) -> None:
    rng = np.random.default_rng(0)
    x = torch.randn(4, 6, 3, 5) if layer == "conv2" else torch.randn(4, 6)
    gone, kept = np.array([1, 4]), np.array([0, 2, 3, 5])
    weights, offset = rng.standard_normal((2, 4)), rng.standard_normal(2)
    before = x.clone()
    found = predicted(gone, weights, offset, kept)(x)
    expected = np.einsum("tk,bk...->bt...", weights, before[:, kept].numpy())
    expected += offset.reshape(1, -1, *[1] * (x.ndim - 2))
    np.testing.assert_allclose(found[:, gone].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[:, kept], before[:, kept])
    assert torch.equal(x, before)


def test_every_fold_has_changes_of_its_own() -> None:
    net = build(spec(1, 6))
    net.get_parameter("fc8.bias").data.copy_(torch.arange(10.0))
    one, other = replaced(np.array([0]), np.array([9.0])), replaced(np.arange(8), np.full(8, 5.0))
    cut = Cut(net, "fc7")
    mixed = scores_of(cut, PARTS, [{"it": one}, {"it": other}].__getitem__)["it"]
    first = scores_of(cut, PARTS[:1], lambda _fold: {"it": one})["it"]
    rest = scores_of(cut, PARTS[1:], lambda _fold: {"it": other})["it"]
    np.testing.assert_allclose(mixed.losses, first.losses + rest.losses)
    assert not np.allclose(first.losses, scores_of(cut, PARTS[:1], lambda _fold: {"it": other})["it"].losses)
