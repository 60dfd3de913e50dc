"""The networks under study: the paper's AlexNet, its small-image variant, and any torchvision classifier.

A *layer* is named by its module path; its units are the channels (convolutional) or neurons (fully connected) of
that module's output. In the AlexNets each named module ends in its ReLU, so a tap is always after the ReLU
(paper, footnote 9), and ``fc8`` gives the logits. For a torchvision model the layers are named by the user and the
logits are tapped under the name ``logits``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from raycv.data import Preprocessing
from raycv.errors import UserError

ALEXNETS = ("small-alexnet", "alexnet")
ALEXNET_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
DEFAULT_WIDTH = 18


class NetworkSpec(BaseModel):
    """All that is needed to build a network again, but for its weights. Stored beside them as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model: str
    classes: int
    seed: int
    layers: tuple[str, ...]
    preprocessing: Preprocessing
    width: int | None = None

    @property
    def output(self) -> str:
        """The name under which the logits are tapped."""
        return ALEXNET_LAYERS[-1] if self.model in ALEXNETS else "logits"


class LocalResponseNorm(nn.Module):
    """x · (k + α/n · Σ x²)^(−β) over a window of n = 5 neighbouring channels, β = 0.75, α = 1e-4, k = 1.

    Krizhevsky et al. (2012), section 3.3, with Caffe's constants; equals ``torch.nn.LocalResponseNorm(5)``. The
    window sum is a sum of shifted channel slices and the gradient is written out, which on a CPU is 6 to 10 times
    faster than PyTorch's pooling form.
    """

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _LocalResponseNorm.apply(x)
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


def _initialise_like_caffe(net: AlexNet) -> None:
    """Gaussian weights and constant biases of Caffe's reference network (bvlc_reference_caffenet)."""
    std = {"fc6": 0.005, "fc7": 0.005}
    bias = {"conv2": 1.0, "conv4": 1.0, "conv5": 1.0, "fc6": 1.0, "fc7": 1.0}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layer = name.split(".")[0]
            nn.init.normal_(module.weight, std=std.get(layer, 0.01))
            nn.init.constant_(module.bias, bias.get(layer, 0.0))  # type: ignore[arg-type]


def _initialise_like_he(net: AlexNet) -> None:
    """He et al. (2015): Caffe's constants suit 227-pixel images of range 255 and leave a small network untrained."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def build(spec: NetworkSpec) -> nn.Module:
    """The untrained network of ``spec``, initialised from its seed, in evaluation mode and channels-last layout.

    Raises UserError when the model or one of its layers does not exist.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        net = _construct(spec)
    for module in net.modules():
        if hasattr(module, "inplace"):  # an in-place ReLU would overwrite the output of the layer before it
            module.inplace = False  # type: ignore[assignment]
    known = dict(net.named_modules())
    unknown = [layer for layer in spec.layers if layer not in known and layer != spec.output]
    if unknown:
        raise UserError(
            f"Network {spec.name} ({spec.model}) has no layer {unknown[0]!r}; its layers are: "
            f"{', '.join(name for name in known if name)}."
        )
    return net.eval().to(memory_format=torch.channels_last)


def _construct(spec: NetworkSpec) -> nn.Module:
    if spec.model == "small-alexnet":
        width = spec.width or DEFAULT_WIDTH
        net = AlexNet(spec.classes, width, round(width * 32 / 3), small_images=True)
        _initialise_like_he(net)
        return net
    if spec.model == "alexnet":
        width = spec.width or 96
        net = AlexNet(spec.classes, width, round(width * 128 / 3), small_images=False)
        _initialise_like_caffe(net)
        return net
    import torchvision  # takes seconds to import, and most runs need none of its models

    check_model(spec.model)
    # The auxiliary classifiers of the Inception family change what forward returns.
    auxiliary = {"aux_logits": False, "init_weights": True} if spec.model in ("googlenet", "inception_v3") else {}
    model: nn.Module = torchvision.models.get_model(spec.model, weights=None, num_classes=spec.classes, **auxiliary)
    return model


def check_model(model: str) -> None:
    """Raise UserError unless ``model`` is one of ours or a torchvision classification model."""
    if model in ALEXNETS:
        return
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if model not in names:
        raise UserError(
            f"There is no model {model!r}; choose {', '.join(ALEXNETS)} or a torchvision classification model: "
            f"{', '.join(names)}."
        )


def preprocessing_of(model: str) -> Preprocessing:
    """What ``model`` expects of an image: the paper's for its AlexNet, torchvision's own for its models."""
    if model == "small-alexnet":
        return Preprocessing(resize=32, crop=32, pad=4, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    if model == "alexnet":
        return Preprocessing(resize=256, crop=227, mean=(123.68, 116.78, 103.94), std=(1.0, 1.0, 1.0))
    import torchvision

    published = torchvision.models.get_model_weights(model).DEFAULT.transforms()
    return Preprocessing(
        resize=max(published.resize_size[0], published.crop_size[0]),
        crop=published.crop_size[0],
        mean=tuple(255 * m for m in published.mean),
        std=tuple(255 * s for s in published.std),
    )


def load_weights(spec: NetworkSpec, weights: dict[str, Tensor]) -> nn.Module:
    """The network of ``spec`` with ``weights`` (a state dict). Raises UserError where they do not fit."""
    net = build(spec)
    expected = net.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    surplus = sorted(weights.keys() - expected.keys())
    if missing or surplus:
        what = f"has no entry {missing[0]!r}" if missing else f"has an unexpected entry {surplus[0]!r}"
        raise UserError(
            f"The weights of {spec.name} do not fit the model {spec.model}: the checkpoint {what}. "
            "Name the model it was trained as with --model."
        )
    for key, value in expected.items():
        if weights[key].shape != value.shape:
            raise UserError(
                f"The weights of {spec.name} do not fit the model {spec.model}: {key} has shape "
                f"{tuple(weights[key].shape)}, expected {tuple(value.shape)}. Name its width with --width, or a data "
                "set with as many classes as it was trained on."
            )
    net.load_state_dict(weights)
    return net


class Taps:
    """Runs a network and returns the activations of named layers.

    A call maps images (B, 3, H, W) to one tensor per layer in the order given: (B, S, ...) with any number of
    spatial axes after the unit axis; a transformer's (B, tokens, S) is returned as (B, S, tokens).
    """

    def __init__(self, net: nn.Module, layers: Sequence[str], output: str) -> None:
        self.net, self.layers, self.output = net, tuple(layers), output
        self._seen: dict[str, Tensor] | None = None  # there while a call is under way
        modules = dict(net.named_modules())
        for layer in self.layers:
            if layer in modules:
                modules[layer].register_forward_hook(self._hook(layer))

    def _hook(self, layer: str) -> Any:
        def record(_module: nn.Module, _args: Any, out: Any) -> None:
            if self._seen is None:
                return
            if not isinstance(out, Tensor) or out.ndim < 2:
                raise UserError(f"Layer {layer!r} does not put out one tensor of units; choose another layer.")
            if layer in self._seen:
                raise UserError(
                    f"Layer {layer!r} runs more than once in one forward pass, so its units are not well defined; "
                    "choose the block around it instead."
                )
            self._seen[layer] = out.transpose(1, 2) if out.ndim == 3 else out

        return record

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        self._seen = seen
        try:
            logits = self.net(images)
        finally:
            self._seen = None
        return {layer: seen.get(layer, logits) for layer in self.layers}


class _Reached(Exception):
    """Carries the activations of the layer asked for out of the forward pass."""


def activation(net: nn.Module, layer: str, output: str, images: Tensor) -> Tensor:
    """Activations (B, S, ...) of one layer, as from `Taps`; the network runs no further than it."""

    def stop(_module: nn.Module, _args: Any, out: Tensor) -> None:
        raise _Reached(out)

    modules = dict(net.named_modules())
    if layer == output and layer not in modules:
        logits: Tensor = net(images)
        return logits
    handle = modules[layer].register_forward_hook(stop)
    try:
        net(images)
        raise RuntimeError(f"the network never ran {layer}")
    except _Reached as reached:
        found: Tensor = reached.args[0]
    finally:
        handle.remove()
    return found.transpose(1, 2) if found.ndim == 3 else found
