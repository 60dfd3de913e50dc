"""What the ReLU at the end of a layer took, as hooks see it in a forward pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Before(NamedTuple):
    """What a ReLU took: ``values``, with their axes where the layer's output has them.

    scale and shift (S,), where they come from a batch normalisation: values = scale * x + shift, unit by unit, with x
    what the unit's weights give once they are scaled to length 1. None where they do not.
    """

    values: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None


class _Normalised(NamedTuple):
    """What a batch normalisation gave, and how often that had been changed; what gave it its input."""

    out: Tensor
    changes: int
    by: _BatchNorm
    weighted: nn.Module | None


class _Taken(NamedTuple):
    values: Tensor
    changes: int
    normalised: _Normalised | None


class Rectified:
    """Follows the last weights, the last batch normalisation and the last ReLU of a pass."""

    def __init__(self) -> None:
        self._weighted: tuple[Any, nn.Module] | None = None
        self._normalised: _Normalised | None = None
        self._taken: _Taken | None = None
        self._given: tuple[Any, int] | None = None

    def take(self, module: nn.Module, args: Any) -> None:
        """A ReLU begins with ``args``; one that works in place will change them."""
        self._taken = self._given = None
        if args and isinstance(args[0], Tensor):
            values, last = args[0], self._normalised
            normalised = last if last and last.out is values and last.changes == changes_of(values) else None
            values = values.detach().clone() if getattr(module, "inplace", False) else values
            self._taken = _Taken(values, changes_of(values), normalised)

    def give(self, module: nn.Module, args: Any, out: Any) -> None:
        """A module has returned ``out``."""
        if isinstance(module, nn.ReLU):
            self._given = out, changes_of(out)
        elif isinstance(module, WEIGHTED):
            self._weighted = out, module
        elif isinstance(module, _BatchNorm) and args and module.running_var is not None and not module.training:
            weighted = self._weighted[1] if self._weighted and self._weighted[0] is args[0] else None
            self._normalised = _Normalised(out, changes_of(out), module, weighted)

    def before(self, out: Any) -> Before | None:
        """What the ReLU took that gave ``out``, if a ReLU did and both are still what they were."""
        taken = self._taken
        if taken is None or self._given is None or self._given[0] is not out:
            return None
        if self._given[1] != changes_of(out) or taken.changes != changes_of(taken.values):
            return None
        return Before(taken.values, *(_scale_and_shift(taken.normalised) if taken.normalised else ()))


def _scale_and_shift(normalised: _Normalised) -> tuple[Tensor, Tensor]:
    norm = normalised.by
    assert norm.running_var is not None
    assert norm.running_mean is not None
    with torch.no_grad():
        factor = (norm.running_var + norm.eps).rsqrt()
        if norm.affine:
            factor = factor * norm.weight
        shift = -norm.running_mean * factor + (norm.bias if norm.affine else 0)
        if normalised.weighted is not None:
            weight = normalised.weighted.get_parameter("weight").detach()
            factor = factor * weight.flatten(1).norm(dim=1)
    return factor, shift


def changes_of(tensor: Any) -> int:
    """How often a tensor was changed in place, as far as PyTorch counts."""
    return tensor._version if isinstance(tensor, Tensor) and not tensor.is_inference() else 0
