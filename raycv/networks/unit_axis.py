"""How many units there are where a network has come to, and on which end of a tensor they are."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

# Modules that fix how many units there are, and on which axis most of them put these.
FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)


class Hint(NamedTuple):
    """The number of units, and whether they are on the last axis, else on the first after the images'; None: either."""

    units: int
    last: bool | None


def hint_of(module: nn.Module, out: Tensor) -> Hint | None:
    """What a module that has returned ``out`` says of the units; None where it says nothing.

    Modules of other libraries, as transformers' Conv1D or Keras' convolutions, say it by the length of their bias or
    scale, where they have one alone.
    """
    if isinstance(module, FIRST + LAST):
        return Hint(units_of(module), isinstance(module, LAST))
    lengths = {parameter.shape[0] for parameter in _own(module) if parameter.ndim == 1 and parameter.numel() > 1}
    if len(lengths) != 1:
        return None
    (units,) = lengths
    axes = [axis for axis in range(1, out.ndim) if out.shape[axis] == units]
    if not axes:
        return None
    return Hint(units, axes[0] == out.ndim - 1 if len(axes) == 1 else None)


def _own(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of a module without parts, but for the lists that some libraries keep parameters in."""
    parts = list(module.children())
    if all(isinstance(part, nn.ParameterList | nn.ParameterDict) for part in parts):
        return list(module.parameters())
    return []


def units_of(module: nn.Module) -> int:
    """How many units one of these modules has."""
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):  # a ConvNeXt's puts them on the first axis
        return module.normalized_shape[-1]
    if isinstance(module, nn.RNNBase):
        return (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    names = ("out_channels", "num_features", "num_channels", "out_features", "embedding_dim", "embed_dim")
    return int(next(getattr(module, name) for name in names if hasattr(module, name)))
