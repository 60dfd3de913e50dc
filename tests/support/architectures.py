"""Real architectures of torchvision, small: the same modules with few units."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import make_layers


def _alexnet() -> nn.Module:
    net: nn.Module = tv.alexnet(weights=None, num_classes=10)
    net.classifier = nn.Sequential(nn.Linear(256 * 36, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 10))
    return net


def _vgg(batch_norm: bool) -> nn.Module:
    net: nn.Module = tv.VGG(make_layers([6, "M", 8, 10, "M"], batch_norm), init_weights=True)
    net.classifier = nn.Sequential(nn.Linear(10 * 49, 24), nn.ReLU(), nn.Linear(24, 10))
    return net


def _resnet_of_groups() -> nn.Module:
    net: nn.Module = tv.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10, norm_layer=partial(nn.GroupNorm, 4))
    net.get_submodule("conv1").bias = nn.Parameter(torch.zeros(64))
    return net


def _swin() -> nn.Module:
    net: nn.Module = tv.SwinTransformer(
        patch_size=[2, 2],
        embed_dim=12,
        depths=[2, 1],
        num_heads=[2, 3],
        window_size=[4, 4],
        num_classes=10,
        stochastic_depth_prob=0.0,
    )
    return net


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "alexnet": _alexnet,
    "vgg": partial(_vgg, False),
    "vgg with batch norm": partial(_vgg, True),
    "resnet": partial(tv.ResNet, BasicBlock, [1, 1, 1, 1], num_classes=10),
    "resnet with bottlenecks": partial(tv.ResNet, Bottleneck, [1, 1, 1, 1], num_classes=10, width_per_group=8),
    "resnext": partial(tv.ResNet, Bottleneck, [1, 1, 1, 1], num_classes=10, groups=4, width_per_group=2),
    "resnet with group norm": _resnet_of_groups,
    "vit": partial(tv.VisionTransformer, 16, 4, 2, 4, 16, 24, num_classes=10),
    "densenet": partial(tv.DenseNet, 5, (2, 2, 2), 9, num_classes=10),
    "mobilenet": partial(tv.MobileNetV2, num_classes=10, width_mult=0.1),
    "convnext": partial(
        tv.ConvNeXt, [CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], num_classes=10, layer_scale=0.5
    ),
    "regnet": partial(
        tv.RegNet,
        BlockParams.from_init_params(depth=4, w_0=16, w_a=8.0, w_m=2.0, group_width=8, se_ratio=0.25),
        num_classes=10,
        stem_width=8,
    ),
    "squeezenet": partial(tv.SqueezeNet, num_classes=10),
    "swin": _swin,
}
SIZES = {"alexnet": 64, "squeezenet": 64, "vit": 16}
# Of other kinds nothing is fixed but what the image and the logits are.
PARTLY_FIXED = {"swin": "its places are chosen by number"}


def architecture(name: str, seed: int = 0) -> nn.Module:
    """One of `MAKERS` in double precision, no weight of it 0 or 1 throughout, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MAKERS[name]().double()
        for values in [*net.parameters(), *net.buffers()]:
            if values.is_floating_point():
                if values.ndim > 1 and not values.any():
                    values.data.normal_(std=0.3)
                elif values.ndim == 1:
                    values.data.add_(0.5 * torch.rand_like(values))
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
    return net.eval()


def images_for(name: str, count: int = 3) -> Tensor:
    """Random images of the size that an architecture takes, the same each time."""
    size = SIZES.get(name, 32)
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def weights_of(net: nn.Module) -> dict[str, np.ndarray]:
    """The state of a network as arrays."""
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def loaded(net: nn.Module, weights: dict[str, np.ndarray]) -> nn.Module:
    """``net`` with other weights."""
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return net
