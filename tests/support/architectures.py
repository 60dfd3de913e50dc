"""Real architectures of torchvision, small: the same modules with few units."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
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


class _Mixture(nn.Module):
    """Concatenation, depthwise, grouped and transposed convolution, PReLU, GLU, squeeze-excite, weight norm, ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.more = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.depthwise, self.activation = nn.Conv2d(20, 20, 3, padding=1, groups=20), nn.PReLU(20)
        self.gated, self.norm = nn.Conv2d(20, 32, 1), nn.BatchNorm2d(16)
        self.squeeze, self.excite = nn.Linear(16, 6), nn.Linear(6, 16)
        self.grouped = nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 12, 3, padding=1, groups=4))
        self.larger = nn.ConvTranspose2d(12, 10, 4, 2, 1)
        self.head = nn.Linear(26, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = self.activation(self.depthwise(torch.cat([x, self.more(x)], 1)))
        x = self.norm(F.glu(self.gated(x), 1))
        scale = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        x = x * scale[:, :, None, None]
        y: Tensor = self.larger(self.grouped(x).relu())
        logits: Tensor = self.head(torch.cat([x.flatten(2).topk(3)[0].mean(2), y.amax((2, 3))], 1))
        return logits


class _Shared(nn.Module):
    """A convolution that runs twice, under two names, and two linear maps with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.alias = self.again
        self.one, self.other, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 10)
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.alias(self.again(self.stem(x).relu()).relu()).relu().mean((2, 3))
        logits: Tensor = self.head(self.other(self.one(x).relu()).relu())
        return logits


class _Attention(nn.Module):
    """Query, key and value from one map, each head with a module of its own, and PyTorch's own attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.position = nn.Conv2d(3, 24, 8, 8), nn.Parameter(torch.randn(1, 16, 24))
        self.norm, self.qkv, self.of_head, self.out = (
            nn.LayerNorm(24),
            nn.Linear(24, 72),
            nn.Identity(),
            nn.Linear(24, 24),
        )
        self.next = nn.MultiheadAttention(24, 4, batch_first=True)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        q, k, v = self.qkv(self.norm(x)).reshape(len(x), 16, 3, 4, 6).permute(2, 0, 3, 1, 4).unbind(0)
        among = (self.of_head(q) @ k.transpose(-1, -2)).softmax(-1) @ v
        x = x + self.out(among.transpose(1, 2).reshape(len(x), 16, 24))
        x = x + self.next(x, x, x, need_weights=False)[0]
        logits: Tensor = self.head(x.mean(1))
        return logits


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
    "mixture": _Mixture,
    "shared": _Shared,
    "attention": _Attention,
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
