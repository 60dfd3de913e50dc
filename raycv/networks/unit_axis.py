"""How many units there are where a network has come to, and on which end of a tensor they are."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

# Modules that fix how many units there are, and on which axis most of them put these.
FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)


class Hint(NamedTuple):
    """What the last module that could tell has said of the units.

    ``units``: their number. ``last``: whether they are on the last axis of what it gives, else on the second; None:
    either. ``size``: how many numbers it has given. ``is_sure``: whether it is one of PyTorch's own, of which the axis
    is known; others that are made of these may turn axes around.
    """

    units: int
    last: bool | None
    size: int
    is_sure: bool = False

    def axis(self, axes: int) -> int | None:
        """Of a tensor of so many ``axes`` the one on which units usually are."""
        return None if self.last is None else axes - 1 if self.last else 1


def hint_of(module: nn.Module, out: Tensor) -> Hint | None:
    """What a module that has returned ``out`` says of the units; None where it says nothing.

    Modules of other libraries, as transformers' Conv1D or Keras' convolutions, say it by the length of their bias or
    scale, where they have one alone. A normalisation over several axes, as over whole images, says nothing.
    """
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) > 1:
        return None
    if isinstance(module, FIRST + LAST):
        is_sure = str(type(module).forward.__module__).startswith("torch.nn.")
        return Hint(units_of(module), isinstance(module, LAST), out.numel(), is_sure)
    lengths = {parameter.shape[0] for parameter in _own(module) if parameter.ndim == 1 and parameter.numel() > 1}
    if len(lengths) != 1:
        return None
    (units,) = lengths
    axes = [axis for axis in range(1, out.ndim) if out.shape[axis] == units]
    if not axes:
        return None
    return Hint(units, axes[0] == out.ndim - 1 if len(axes) == 1 else None, out.numel())


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
