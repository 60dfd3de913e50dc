"""What in an image drives a unit: deconvnet pictures, and the closest method where a deconvnet is not defined.

A deconvnet (Zeiler & Fergus, 2014, section 2.1) leads one activation back to the pixels through the layers it came by,
each in reverse: filters transposed; max pooling undone by its switches, the places of the maxima in this image;
and the signal rectified where the way forward was. All but the last is what backpropagation does, so it is
backpropagation with another rule for ReLU:

- deconvnet: the signal is rectified, whatever the activations were;
- guided backpropagation (Springenberg et al., 2015): it is also stopped where the activation was not positive;
- gradient: neither (Simonyan et al., 2014).

Where pooling windows overlap and share a maximum, what comes back from each is added. Local response normalisation
scales the signal by the factor by which it scaled the activation, the factor held constant; the paper leaves it open.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from raycv.networks.alexnet import LocalResponseNorm
from raycv.networks.places import activation_at
from raycv.networks.spec import Place

SEQUENTIAL = (
    nn.Conv2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Linear,
    nn.Dropout,
    LocalResponseNorm,
)


class Deconvnet:
    """Draws what drives the units of a network; replaces the network's ReLUs and normalisations.

    ``method`` is deconvnet for networks of convolutions, poolings and fully connected layers alone, guided
    backpropagation for others that have ReLU modules, and gradient for the rest.
    """

    def __init__(self, net: nn.Module, output: str) -> None:
        parts = [module for module in net.modules() if not list(module.children())]
        if all(isinstance(part, SEQUENTIAL) for part in parts):
            self.method = "deconvnet"
        elif any(isinstance(part, nn.ReLU) for part in parts):
            self.method = "guided backpropagation"
        else:
            self.method = "gradient"
        self.net, self.output = net.requires_grad_(False), output
        for parent in list(net.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(parent, name, _Rectifier(guided=self.method != "deconvnet"))
                elif isinstance(child, LocalResponseNorm):
                    setattr(parent, name, _Normaliser(child))

    def __call__(self, layer: str | Place, images: Tensor, units: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) of what drives, in each image (B, 3, H, W), one unit of ``layer`` at one position.

        units, rows and columns (B,) int64; a fully connected layer has row and column 0, a layer of tokens row 0. The
        signal that is led back is the activation itself: pictures of stronger activations are stronger. Of a network
        that runs without gradients they are empty.
        """
        images = images.detach().requires_grad_()
        place = layer if isinstance(layer, Place) else Place(module=layer)
        found = activation_at(self.net, place, self.output, images)
        by_position = found.reshape(*found.shape[:2], *((1, -1) if found.ndim < 4 else found.shape[2:]))
        chosen = by_position[torch.arange(len(images), device=images.device), units, rows, columns]
        if not chosen.requires_grad:  # a network that takes no gradients of what it does
            return torch.zeros_like(images)
        (pictures,) = torch.autograd.grad(chosen, images, chosen.detach())
        return pictures


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, guided: bool) -> Tensor:
        ctx.active = x > 0 if guided else None
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        signal = grads[0].clamp_min(0)
        return signal if ctx.active is None else signal * ctx.active, None


class _Rectifier(nn.Module):
    def __init__(self, *, guided: bool) -> None:
        super().__init__()
        self.guided = guided

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Rectify.apply(x, self.guided)
        return y


class _Normaliser(nn.Module):
    def __init__(self, norm: LocalResponseNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.norm(x)
            factor = torch.where(x != 0, y / x, 1.0)
        scaled: Tensor = x * factor
        return scaled
