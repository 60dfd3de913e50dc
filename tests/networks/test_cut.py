"""Networks cut after a layer: own activations give the own logits, other ones what a hook in the network gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from raycv.errors import UserError
from raycv.networks.catalogue import preprocessing_of
from raycv.networks.cut import Cut
from raycv.networks.models import build
from raycv.networks.spec import NetworkSpec
from raycv.networks.taps import activation

# Inside residual blocks, at their ends, between normalisations that are changed in place, tokens, and a mixed axis.
CUTS = [
    ("small-alexnet", "conv2"),
    ("small-alexnet", "fc7"),
    ("resnet18", "layer2.0.bn1"),
    ("resnet18", "layer2.0.bn2"),
    ("resnet18", "layer3"),
    ("densenet121", "features.denseblock2.denselayer3.conv1"),
    ("mobilenet_v3_small", "features.4.block.1"),
    ("vit_b_32", "encoder.layers.encoder_layer_2"),
    ("swin_t", "features.3"),
    ("googlenet", "inception3a.branch2"),
]


UNITS_LAST = (("vit_b_32", "encoder.layers.encoder_layer_2"), ("swin_t", "features.3"))


def network(model: str) -> nn.Module:
    net = build(
        NetworkSpec(
            name="net1",
            model=model,
            classes=5,
            seed=1,
            layers=("fc8" if model == "small-alexnet" else "logits",),
            preprocessing=preprocessing_of(model),
            width=6 if model == "small-alexnet" else None,
        )
    )
    *_, last = (module for module in net.modules() if isinstance(module, nn.Linear))
    nn.init.normal_(last.weight, generator=torch.Generator().manual_seed(0))  # a ViT's begins as 0
    return net


@pytest.mark.parametrize(("model", "layer"), CUTS, ids=[" ".join(cut) for cut in CUTS])
def test_what_follows_is_what_the_whole_network_gives(model: str, layer: str) -> None:
    net = network(model)
    size = 32 if model == "small-alexnet" else 224
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, expected = net(images), activation(net, layer, "logits", images)
    cut = Cut(net, layer)
    found = cut.before(images)
    assert torch.equal(found, expected)
    assert torch.equal(cut.after(found), whole)

    at = -1 if (model, layer) in UNITS_LAST else 1

    def silence(_module: nn.Module, _args: object, out: Tensor) -> Tensor:
        moved = out.clone().movedim(at, 1)
        moved[:, 1::2] = 0.25
        return moved.movedim(1, at)

    changed = found.clone()
    changed[:, 1::2] = 0.25
    handle = dict(net.named_modules())[layer].register_forward_hook(silence)
    with torch.inference_mode():
        hooked = net(images)
    handle.remove()
    assert not torch.equal(hooked, whole)
    torch.testing.assert_close(cut.after(changed), hooked)
    assert torch.equal(cut.after(found), whole)  # nothing noted was changed on the way
    with torch.inference_mode():
        assert torch.equal(net(images), whole)


def test_what_comes_before_is_not_computed_again() -> None:
    net = network("small-alexnet")
    cut, ran = Cut(net, "conv4"), []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    found = cut.before(torch.randn(2, 3, 32, 32))
    ran.clear()
    cut.after(found)
    assert ran == ["conv5.0"]


def test_where_it_cannot_be_cut() -> None:
    net = network("resnet18")
    with pytest.raises(UserError, match="no module 'logits'"):
        Cut(net, "logits")
    with pytest.raises(UserError, match="runs once"):
        Cut(net, "layer1.0.relu").before(torch.randn(1, 3, 64, 64))
