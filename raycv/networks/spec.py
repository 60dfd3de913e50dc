"""The description of a network: all that is needed to rebuild it, except its weights. Needs no PyTorch.

A *layer* is named by its module path; its units are the channels (convolutional) or neurons (fully connected) of
that module's output. In the AlexNets each named module ends in its ReLU, so units are always taken after the ReLU
(paper, footnote 9), and ``fc8`` gives the logits. For a torchvision model the layers are named by the user and the
logits are tapped under the name ``logits``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from raycv.data.preprocessing import Preprocessing
from raycv.errors import UserError

ALEXNET_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
WIDTHS = {"small-alexnet": 18, "alexnet": 96}  # conv1 units of the AlexNets where the user names no width

LARGEST_SEED = 2**32 - 1  # what follows from a seed, an epoch and a worker still fits 64 bits


class NetworkSpec(BaseModel):
    """All that is needed to build a network again, but for its weights. Stored beside them as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model: str
    classes: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    preprocessing: Preprocessing
    width: Annotated[int, Field(ge=1)] | None = None

    @property
    def output(self) -> str:
        """The name under which the logits are tapped."""
        return ALEXNET_LAYERS[-1] if self.model in WIDTHS else "logits"


def check_alike(specs: Sequence[NetworkSpec]) -> None:
    """Raise UserError unless the networks have the same layers and prepare images alike."""
    first = specs[0]
    for spec in specs[1:]:
        if spec.layers != first.layers:
            raise UserError(
                f"The networks differ: {spec.name} has the layers {', '.join(spec.layers)} and {first.name} "
                f"has {', '.join(first.layers)}; compare networks with the same layers."
            )
        if spec.preprocessing != first.preprocessing:
            raise UserError(
                f"The networks differ: {spec.name} ({spec.model}) and {first.name} ({first.model}) prepare images "
                "differently, so the same position would not show the same pixels; compare networks that prepare them "
                "alike."
            )
