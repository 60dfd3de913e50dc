"""Which axis of a module's output counts its units: (B, S, H, W), (B, H, W, S), (B, tokens, S) and (B, S)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

# Modules that fix how many units there are, and on which axis most of them put these.
FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)


class UnitAxis:
    """Follows a network through a forward pass; tells for any output which of its axes counts the units.

    The last convolution, linear map or normalisation that ran says how many units there are, and the axis of that
    length is theirs. Where two axes have it, or none, a convolution's units are on the first axis after the batch's and
    a linear map's on the last.
    """

    def __init__(self, net: nn.Module) -> None:
        self._last: tuple[int, bool] | None = None  # units, and whether they are on the last axis
        self._handles = [
            module.register_forward_hook(self._note) for module in net.modules() if isinstance(module, FIRST + LAST)
        ]

    def remove(self) -> None:
        """Follow the network no longer."""
        for handle in self._handles:
            handle.remove()

    def _note(self, module: nn.Module, _args: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim > 1:
            self._last = units_of(module), isinstance(module, LAST)

    def of(self, out: Tensor) -> int:
        """The axis of ``out`` (B, ...), counted from its first."""
        if out.ndim == 2:
            return 1
        units, last = self._last or (-1, out.ndim == 3)
        alike = [axis for axis in (1, out.ndim - 1) if out.shape[axis] == units]
        return alike[0] if len(alike) == 1 else (out.ndim - 1 if last else 1)


def units_of(module: nn.Module) -> int:
    """How many units one of these modules has."""
    if isinstance(module, nn.LayerNorm):  # a ConvNeXt's puts them on the first axis
        return module.normalized_shape[-1]
    names = ("out_channels", "num_features", "num_channels", "out_features", "embedding_dim")
    return int(next(getattr(module, name) for name in names if hasattr(module, name)))
