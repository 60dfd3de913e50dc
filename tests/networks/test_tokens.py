"""Class tokens, registers and patches of layers that give tokens."""

from __future__ import annotations

import doctest

import pytest
import torch
import torchvision

from raycv.errors import UserError
from raycv.networks import tokens
from raycv.networks.taps import Taps
from raycv.networks.tokens import before_patches, part_of, squared, taken


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(tokens)
    assert result.attempted
    assert not result.failed


def test_patches_of_square_images_are_told_from_what_stands_before_them() -> None:
    for side in range(5, 40):  # the next smaller square is more than 8 away
        assert [before_patches(side**2 + few) for few in range(9)] == list(range(9))


def test_no_square_is_made_up() -> None:
    assert before_patches(1) == 0
    assert before_patches(79) is None  # 64 and 81 are the nearest squares
    assert squared(torch.zeros(2, 3, 79)).shape == (2, 3, 79)
    assert squared(torch.zeros(2, 3)).shape == (2, 3)


def test_a_vision_transformers_class_token_is_the_first_and_its_patches_lie_as_the_image_does() -> None:
    net = torchvision.models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=5).eval()
    images = torch.randn(3, 3, 32, 32)
    layer = "encoder.layers.encoder_layer_1"
    values = Taps(net, [layer, "encoder.ln", "conv_proj"], "")(images)
    with torch.inference_mode():
        torch.testing.assert_close(net.heads(taken("encoder.ln:class", values["encoder.ln"])), net(images))
    assert taken(f"{layer}:patches", values[layer]).shape == (3, 24, 16)
    assert squared(values[layer]).shape == (3, 24, 4, 4)
    joined = torch.cat([torch.zeros(3, 24, 1), values["conv_proj"].flatten(2)], 2)
    torch.testing.assert_close(squared(joined), values["conv_proj"])
    assert taken(layer, values[layer]) is values[layer]


@pytest.mark.parametrize(
    ("shape", "layer", "said"),
    [
        ((2, 4, 5, 5), "a.b:class", r"'a.b' gives activations of shape \(2, 4, 5, 5\).*; name it 'a.b'"),
        ((2, 4), "a.b:patches", "asks for tokens"),
        ((2, 4, 16), "a.b:class", "'a.b' has no class token to tell: its 16 tokens are a square of patches"),
        ((2, 4, 79), "a.b:patches", "its 79 tokens are no square, nor are they without up to 8"),
    ],
)
def test_what_is_no_token_is_refused(shape: tuple[int, ...], layer: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        taken(layer, torch.zeros(shape))


def test_other_colons_belong_to_the_path() -> None:
    assert part_of("blocks.3:class") == ("blocks.3", "class")
    assert part_of("blocks.3") == ("blocks.3", "")
    assert part_of("odd:name") == ("odd:name", "")
