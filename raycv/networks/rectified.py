"""What the pointwise non-linearity at the end of a layer took, as hooks see it in a forward pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from raycv.analysis.prerelu import Mixable, moments_of
from raycv.networks.nonlinearity import RELU, NonLinearity, computed_by, computes

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Before(NamedTuple):
    """What a ``nonlinearity`` took: ``values``, with their axes where the layer's output has them.

    scale and shift (S,), where they come from a batch normalisation: values = scale * x + shift, unit by unit, with x
    what the unit's weights give once they are scaled to length 1. None where they do not; except before a ReLU, they
    are told of weights without a batch normalisation, too.
    """

    values: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None
    nonlinearity: NonLinearity = RELU


class _Linear(NamedTuple):
    """What weights gave, or a batch normalisation ``by`` which they may have gone, and how often it was changed."""

    out: Tensor
    changes: int
    by: _BatchNorm | None
    weighted: nn.Module | None

    def gave(self, values: Tensor) -> bool:
        """Whether it is this, unchanged."""
        return self.out is values and self.changes == changes_of(values)


class _Taken(NamedTuple):
    values: Tensor
    changes: int
    linear: _Linear | None
    by: NonLinearity


class Rectified:
    """Follows the last weights, the last batch normalisation and the last known non-linearity of a pass."""

    def __init__(self) -> None:
        self._weighted: _Linear | None = None
        self._normalised: _Linear | None = None
        self._taken: _Taken | None = None
        self._given: tuple[Any, int] | None = None

    def take(self, module: nn.Module, args: Any) -> None:
        """A non-linearity begins with ``args``; one that works in place will change them."""
        self._taken = self._given = None
        by = computed_by(module)
        if by is not None and args and isinstance(args[0], Tensor):
            values = args[0]
            sources = [self._normalised] if by.is_relu else [self._normalised, self._weighted]
            linear = next((one for one in sources if one is not None and one.gave(values)), None)
            values = values.detach().clone() if getattr(module, "inplace", False) else values
            self._taken = _Taken(values, changes_of(values), linear, by)

    def give(self, module: nn.Module, args: Any, out: Any) -> None:
        """A module has returned ``out``."""
        if isinstance(module, WEIGHTED):
            self._weighted = _Linear(out, changes_of(out), None, module)
        elif isinstance(module, _BatchNorm):
            if args and module.running_var is not None and not module.training:
                weighted = self._weighted.weighted if self._weighted and self._weighted.out is args[0] else None
                self._normalised = _Linear(out, changes_of(out), module, weighted)
        elif self._taken is not None and computes(module, self._taken.by, self._taken.values, out):
            self._given = out, changes_of(out)

    def before(self, out: Any) -> Before | None:
        """What the non-linearity took that gave ``out``, if one did and both are still what they were."""
        taken = self._taken
        if taken is None or self._given is None or self._given[0] is not out:
            return None
        if self._given[1] != changes_of(out) or taken.changes != changes_of(taken.values):
            return None
        scale, shift = (None, None) if taken.linear is None else _scale_and_shift(taken.linear)
        return Before(taken.values, scale, shift, taken.by)


def _scale_and_shift(linear: _Linear) -> tuple[Tensor | None, Tensor | None]:
    """Those of what weights of length 1 give, unit by unit."""
    norm = linear.by
    with torch.no_grad():
        lengths = None if linear.weighted is None else _lengths(linear.weighted)
        if norm is None:
            if lengths is None:
                return None, None
            bias = getattr(linear.weighted, "bias", None)
            shift = torch.zeros_like(lengths) if bias is None else bias.detach()
            return lengths.float(), shift.float()
        assert norm.running_var is not None
        assert norm.running_mean is not None
        factor = (norm.running_var + norm.eps).rsqrt()
        if norm.affine:
            factor = factor * norm.weight
        shift = -norm.running_mean * factor + (norm.bias if norm.affine else 0)
        return factor if lengths is None else factor * lengths, shift


def _lengths(weighted: nn.Module) -> Tensor | None:
    """(S,): of each unit's weights; None of weights that are packed, as by quantisation."""
    weight = weighted.weight
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim < 2:
        return None
    lengths: Tensor = weight.detach().flatten(1).norm(dim=1)
    return lengths


def mixable_of(before: Before) -> Mixable:
    """Units (n, S) to be mixed."""
    scale, shift = before.scale, before.shift
    told = None if scale is None or shift is None else torch.stack([scale, shift]).to(before.values)
    return mixable(before.values, before.nonlinearity, told)


def mixable(values: Tensor, nonlinearity: NonLinearity, normalised: Tensor | None) -> Mixable:
    """Units to be mixed, from their activations ``values`` (n, S) before a non-linearity.

    What is mixed is what their weights give once they are scaled to length 1, as far as ``normalised`` (2, S), the
    scale and shift of `Before`, tells it. Before other functions than a ReLU the shift is left in: which columns get
    which units' means goes by their own.
    """
    if nonlinearity.is_relu:
        return Mixable(values if normalised is None else _unscaled(values, *normalised), None, (values > 0).sum(0))
    weighted = values if normalised is None else _unscaled(values, normalised[0].abs(), torch.zeros(()))
    return Mixable(weighted, nonlinearity, moments_of(values))


def _unscaled(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    weighted = (values - shift.to(values.device)) / torch.where(scale == 0, 1, scale)
    weighted[:, scale == 0] = 0
    return weighted


def changes_of(tensor: Any) -> int:
    """How often a tensor was changed in place, as far as PyTorch counts."""
    return tensor._version if isinstance(tensor, Tensor) and not tensor.is_inference() else 0
