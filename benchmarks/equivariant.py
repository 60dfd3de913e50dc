"""Networks in which no unit can be special: a zero cell of `raycv attribute` that is trained.

Every layer is weights and a gate, y = x / sqrt(1 + r²), with r² the mean square of all units at one position: a gate
that sees only how long the vector of units is commutes with every rotation of the units. So do average pooling, first
weights that are drawn from one normal distribution a layer, biases that begin at 0, and SGD with momentum and weight
decay. Then all networks that are rotations of one another are equally likely to come out of training: what they learn
in common is a space and no unit, and the excess over units mixed after the gate (column ``excess``) is 0 on average,
also where correlation and CKA are large. The gate is no function of single units, so no units are mixed before it and
``prerelu_excess`` is null in these layers.

Layers and numbers of units are those of the small AlexNet. As a cell (docs/attribution.md):

    - name: equivariant
      against: null
      settings: {model: "benchmarks.equivariant:network", layers: "conv1,conv2,conv3,conv4,conv5,fc6,fc7",
        epochs: 12, learning_rate: 0.02, schedule: one-cycle, batch_size: 64}
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raycv import Preprocessing


class Gate(nn.Module):
    """Scales the vector of units at every position by a function of its length alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Units (B, S, ...) to units of the same shape."""
        return x * torch.rsqrt(1 + x.square().mean(1, keepdim=True))


class Layer(nn.Sequential):
    """Weights and a gate."""

    def __init__(self, weights: nn.Conv2d | nn.Linear) -> None:
        super().__init__(isotropic(weights), Gate())


def isotropic(weights: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The same module with weights from one normal distribution and biases 0: uniform ones would have special units."""
    nn.init.kaiming_normal_(weights.weight, nonlinearity="relu")
    if weights.bias is not None:
        nn.init.zeros_(weights.bias)
    return weights


def network(classes: int = 10, width: int = 12) -> tuple[nn.Module, Preprocessing]:
    """A network for images of 32 x 32 pixels, with the layers of the small AlexNet."""
    second, third, hidden = round(width * 8 / 3), width * 4, round(width * 32 / 3)
    layers: dict[str, nn.Module] = {
        "conv1": Layer(nn.Conv2d(3, width, 5, padding=2)),
        "pool1": nn.AvgPool2d(3, 2),
        "conv2": Layer(nn.Conv2d(width, second, 5, padding=2)),
        "pool2": nn.AvgPool2d(3, 2),
        "conv3": Layer(nn.Conv2d(second, third, 3, padding=1)),
        "conv4": Layer(nn.Conv2d(third, third, 3, padding=1)),
        "conv5": Layer(nn.Conv2d(third, second, 3, padding=1)),
        "pool5": nn.AvgPool2d(3, 2),
        "flatten": nn.Flatten(),
        "fc6": Layer(nn.Linear(second * 9, hidden)),
        "fc7": Layer(nn.Linear(hidden, hidden)),
        "fc8": isotropic(nn.Linear(hidden, classes)),
    }
    net = nn.Sequential()
    for name, module in layers.items():
        net.add_module(name, module)
    images = Preprocessing(resize=32, crop=32, pad=4, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    return net, images
