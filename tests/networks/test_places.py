"""Activations at the places where they are compared, against what one would compute by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from raycv.errors import UserError
from raycv.networks.models import build
from raycv.networks.places import activation_at, at, taps_of
from raycv.networks.spec import Place
from raycv.networks.tokens import grid_of
from tests.support.nets import described


def test_the_mean_over_positions_is_one_sample_an_image() -> None:
    values = torch.randn(3, 5, 4, 6)
    torch.testing.assert_close(at(values, Place(module="x", grid=())), values.double().mean((2, 3)))
    rows = torch.randn(3, 5)
    assert at(rows, Place(module="x", grid=())) is rows


def test_a_finer_grid_is_averaged_over_the_areas_of_a_coarser_one() -> None:
    values = torch.randn(3, 5, 8, 12)
    torch.testing.assert_close(at(values, Place(module="x", grid=(4, 6))), avg_pool2d(values.double(), 2))


def test_tokens_without_the_class_token_make_a_square() -> None:
    tokens = torch.randn(2, 5, 17)
    torch.testing.assert_close(at(tokens, Place(module="x", grid=(4, 4))), tokens[:, :, 1:].reshape(2, 5, 4, 4))
    assert grid_of((17,)) == (4, 4)
    assert grid_of((7, 9)) == (7, 9)
    assert grid_of(()) is None
    with pytest.raises(UserError, match="Layer 'x' has positions"):
        at(torch.randn(2, 5, 35), Place(module="x", grid=(2, 2)))


def test_one_pass_gives_all_places() -> None:
    spec = described("tests.support.nets:tokens", as_built=True)
    places = (Place(module="blocks.1:class"), Place(module="blocks.1:patches"), Place(module="blocks.1", grid=()))
    spec = spec.model_copy(update={"layers": ("a", "b", "c"), "places": places})
    net, images = build(spec), torch.randn(4, 3, 32, 32)
    calls: list[int] = []
    net.register_forward_hook(lambda *_: calls.append(1))
    taps = taps_of(net, spec)
    found = taps(images)
    assert len(calls) == 1
    whole = torch.cat([found["a"][:, :, None], found["b"]], 2)
    torch.testing.assert_close(found["c"], whole.double().mean(2))
    for layer in spec.layers:
        with torch.inference_mode():
            torch.testing.assert_close(activation_at(net, spec.place(layer), spec.output, images), found[layer])
