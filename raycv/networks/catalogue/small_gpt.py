"""raycv's own small language model, which reads bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError
from raycv.networks.recordings import NO_IMAGES
from raycv.networks.spec import Argument, NetworkSpec

if TYPE_CHECKING:
    from torch import nn


def check(model: str, arguments: Mapping[str, Argument]) -> None:
    """Raise UserError for arguments: it takes none."""
    if arguments:
        raise UserError(f"{model} takes no arguments, and was given {', '.join(arguments)}; leave them out.")


def construct(spec: NetworkSpec, _published: bool) -> nn.Module:
    """A model of sequences as long as the network's own."""
    from raycv.networks.small_gpt import SmallGPT

    if spec.tokens is None:
        raise UserError(f"{spec.name} is a language model and has no sequences; train it again.")
    return SmallGPT(spec.tokens.context)


def preprocessing(_model: str, _arguments: dict[str, object]) -> Preprocessing:
    """None: it sees no images."""
    return NO_IMAGES
