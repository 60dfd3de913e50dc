"""The paper's AlexNet and a small one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.spec import WIDTHS, Argument, NetworkSpec

if TYPE_CHECKING:
    from torch import nn


def check(model: str, arguments: Mapping[str, Argument]) -> None:
    """Raise UserError for arguments: it takes none."""
    if arguments:
        raise UserError(f"{model} takes no arguments, and was given {', '.join(arguments)}; leave them out.")


def construct(spec: NetworkSpec, _published: bool) -> nn.Module:
    """An AlexNet. Weights of it are not published in this form."""
    from raycv.networks.alexnet import AlexNet, initialise_like_caffe, initialise_like_he

    width, small = spec.width or WIDTHS[spec.model], spec.model == "small-alexnet"
    net = AlexNet(spec.classes, width, round(width * (32 if small else 128) / 3), small_images=small)
    (initialise_like_he if small else initialise_like_caffe)(net)
    return net


def preprocessing(model: str, _arguments: dict[str, object]) -> Preprocessing:
    """The paper's for its AlexNet."""
    if model == "small-alexnet":
        return Preprocessing(resize=32, crop=32, pad=4, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    return Preprocessing(resize=256, crop=227, mean=(123.68, 116.78, 103.94), std=(1.0, 1.0, 1.0))
