"""The description of a network: all that is needed to rebuild it, except its weights. Needs no PyTorch.

A *layer* is named by its module path; its units are the channels (convolutional) or neurons (fully connected) of
that module's output. In the AlexNets each named module ends in its ReLU, so units are always taken after the ReLU
(paper, footnote 9), and ``fc8`` gives the logits. For a torchvision model the layers are named by the user and the
logits are tapped under the name ``logits``.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from raycv.data.preprocessing import Preprocessing

ALEXNET_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
WIDTHS = {"small-alexnet": 18, "alexnet": 96}  # conv1 units of the AlexNets where the user names no width


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
        return ALEXNET_LAYERS[-1] if self.model in WIDTHS else "logits"
