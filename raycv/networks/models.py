"""Building networks: the AlexNets and any torchvision classification model."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.alexnet import AlexNet, initialise_like_caffe, initialise_like_he
from raycv.networks.spec import WIDTHS, NetworkSpec

# In torchvision's Inception family a classifier for training alone changes what forward returns: networks have none.
AUXILIARY = re.compile(r"(aux1|aux2|AuxLogits)\.")
INCEPTIONS = ("googlenet", "inception_v3")


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


def hollow(spec: NetworkSpec) -> nn.Module:
    """The network of ``spec`` without content, on the device meta, where the largest takes a moment."""
    try:
        with torch.device("meta"):
            return build(spec)
    except NotImplementedError:  # RegNets compute their widths with tensors, which have no values there
        return build(spec).to("meta")


def _construct(spec: NetworkSpec) -> nn.Module:
    if spec.model in WIDTHS:
        width, small = spec.width or WIDTHS[spec.model], spec.model == "small-alexnet"
        net = AlexNet(spec.classes, width, round(width * (32 if small else 128) / 3), small_images=small)
        (initialise_like_he if small else initialise_like_caffe)(net)
        return net
    import torchvision  # takes seconds to import, and most runs need none of its models

    check_model(spec.model)
    more: dict[str, Any] = {"aux_logits": False, "init_weights": True} if spec.model in INCEPTIONS else {}
    if spec.model.startswith("vit_"):  # they take images of one size
        more["image_size"] = spec.preprocessing.crop
    model: nn.Module = torchvision.models.get_model(spec.model, weights=None, num_classes=spec.classes, **more)
    return model


def check_model(model: str) -> None:
    """Raise UserError unless ``model`` is one of ours or a torchvision classification model."""
    if model in WIDTHS:
        return
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if model not in names:
        raise UserError(
            f"There is no model {model!r}; choose {', '.join(WIDTHS)} or a torchvision classification model: "
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
    mean, std = published.mean, published.std
    if model in INCEPTIONS:  # their published weights take these: torchvision's transform_input makes them of its own
        mean = std = (0.5, 0.5, 0.5)
    return Preprocessing(
        resize=max(published.resize_size[0], published.crop_size[0]),
        crop=published.crop_size[0],
        fit="short-side",
        interpolation=published.interpolation.value,
        mean=tuple(255 * m for m in mean),
        std=tuple(255 * s for s in std),
    )


def load_weights(spec: NetworkSpec, weights: dict[str, Tensor]) -> nn.Module:
    """The network of ``spec`` with ``weights`` (a state dict). Raises UserError where they do not fit."""
    expected = hollow(spec).state_dict()  # weights that do not fit are refused before a network takes memory
    if spec.model in INCEPTIONS:
        weights = {name: value for name, value in weights.items() if not AUXILIARY.match(name)}
    missing = sorted(expected.keys() - weights.keys())
    surplus = sorted(weights.keys() - expected.keys())
    if missing or surplus:
        what = f"has no entry {missing[0]!r}" if missing else f"has an unexpected entry {surplus[0]!r}"
        raise UserError(
            f"The weights of {spec.name} do not fit the model {spec.model}: the checkpoint {what}. "
            "Name the model it was trained as with --model."
        )
    for key, value in expected.items():
        _check_numbers(spec, key, weights[key], value)
        if weights[key].shape != value.shape:
            raise UserError(
                f"The weights of {spec.name} do not fit the model {spec.model}: {key} has shape "
                f"{tuple(weights[key].shape)}, expected {tuple(value.shape)}. Name its width with --width, or a data "
                "set with as many classes as it was trained on."
            )
    net = build(spec)
    net.load_state_dict(weights)
    return net


def _check_numbers(spec: NetworkSpec, key: str, given: Tensor, expected: Tensor) -> None:
    """Raise UserError unless ``given`` holds finite numbers of the kind that the model has."""
    found = ""
    if given.layout is not torch.strided or given.is_quantized or given.is_meta:
        found = "is sparse, quantised or without values"
    elif given.is_complex() or (expected.is_floating_point() and not given.is_floating_point()):
        found = f"holds {str(given.dtype).removeprefix('torch.')}"
    elif not torch.isfinite(given.float()).all():
        found = "holds NaN or infinite numbers"
    if found:
        raise UserError(
            f"The weights of {spec.name} cannot be used: {key} {found}, and weights are finite floating-point numbers; "
            "import another checkpoint."
        )
