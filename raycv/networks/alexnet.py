"""The paper's AlexNet and its variant for small images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """x · (k + α/n · Σ x²)^(−β) over a window of n = 5 neighbouring channels, β = 0.75, α = 1e-4, k = 1.

    Krizhevsky et al. (2012), section 3.3, with Caffe's constants; equals ``torch.nn.LocalResponseNorm(5)``. The
    window sum is a sum of shifted channel slices and the gradient is written out, which on a CPU is 6 to 10 times
    faster than PyTorch's pooling form.
    """

    def forward(self, x: Tensor) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # bfloat16 would add squares to three digits
        y: Tensor = _LocalResponseNorm.apply(exact)
        return y


class _LocalResponseNorm(torch.autograd.Function):
    scale = 1e-4 / 5
    half = 2

    @staticmethod
    def _window(x: Tensor) -> Tensor:
        half, channels = _LocalResponseNorm.half, x.shape[1]
        padded = F.pad(x, (0, 0, 0, 0, half, half))
        total = padded[:, :channels].clone()
        for shift in range(1, 2 * half + 1):
            total += padded[:, shift : shift + channels]
        return total

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        base = _LocalResponseNorm._window(x * x).mul_(_LocalResponseNorm.scale).add_(1.0)
        root = base.rsqrt()
        factor = root * root.sqrt()  # base^(-3/4) without the slow general power
        ctx.save_for_backward(x, base, factor)
        return x * factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = grads
        x, base, factor = ctx.saved_tensors
        spread = _LocalResponseNorm._window(grad * x * factor / base).mul_(-1.5 * _LocalResponseNorm.scale)
        return torch.addcmul(grad * factor, x, spread)


class AlexNet(nn.Sequential):
    """Five convolutional and three fully connected layers, ungrouped, normalisation after pooling (paper, section 2).

    ``width`` is the number of conv1 units; the others follow in the paper's proportions 96-256-384-384-256.
    """

    def __init__(self, classes: int, width: int, hidden: int, *, small_images: bool) -> None:
        c1, c2, c3 = width, round(width * 8 / 3), width * 4
        first = nn.Conv2d(3, c1, 5, padding=2) if small_images else nn.Conv2d(3, c1, 11, stride=4)
        final_extent = 3 if small_images else 6
        super().__init__()
        self.add_module("conv1", nn.Sequential(first, nn.ReLU()))
        self.add_module("pool1", nn.MaxPool2d(3, 2))
        self.add_module("norm1", LocalResponseNorm())
        self.add_module("conv2", nn.Sequential(nn.Conv2d(c1, c2, 5, padding=2), nn.ReLU()))
        self.add_module("pool2", nn.MaxPool2d(3, 2))
        self.add_module("norm2", LocalResponseNorm())
        self.add_module("conv3", nn.Sequential(nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU()))
        self.add_module("conv4", nn.Sequential(nn.Conv2d(c3, c3, 3, padding=1), nn.ReLU()))
        self.add_module("conv5", nn.Sequential(nn.Conv2d(c3, c2, 3, padding=1), nn.ReLU()))
        self.add_module("pool5", nn.MaxPool2d(3, 2))
        self.add_module("flatten", nn.Flatten())
        self.add_module("fc6", nn.Sequential(nn.Linear(c2 * final_extent**2, hidden), nn.ReLU()))
        self.add_module("drop6", nn.Dropout(0.5))
        self.add_module("fc7", nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU()))
        self.add_module("drop7", nn.Dropout(0.5))
        self.add_module("fc8", nn.Linear(hidden, classes))

    def forward(self, input: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, H, W).

        In training a ReLU before a pooling comes after it: the same values and gradients, from a quarter as many.
        """
        modules, x = list(self), input
        for module, following in zip(modules, [*modules[1:], None], strict=True):
            if self.training and isinstance(module, nn.Sequential) and isinstance(following, nn.MaxPool2d):
                x = module[0](x)
            elif self.training and isinstance(module, nn.MaxPool2d):
                x = F.relu(module(x))
            else:
                x = module(x)
        return x


def initialise_like_caffe(net: AlexNet) -> None:
    """Gaussian weights and constant biases of Caffe's reference network (bvlc_reference_caffenet)."""
    std = {"fc6": 0.005, "fc7": 0.005}
    bias = {"conv2": 1.0, "conv4": 1.0, "conv5": 1.0, "fc6": 1.0, "fc7": 1.0}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layer = name.split(".")[0]
            nn.init.normal_(module.weight, std=std.get(layer, 0.01))
            nn.init.constant_(module.bias, bias.get(layer, 0.0))  # type: ignore[arg-type]


def initialise_like_he(net: AlexNet) -> None:
    """He et al. (2015): Caffe's constants suit 227-pixel images of range 255 and leave a small network untrained."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
