"""The pointwise non-linearities before which units can be mixed: one closed table.

Another one becomes known by one line in it. `raycv.analysis.prerelu` says how units are mixed: before a ReLU columns
get thresholds, before any other the means and deviations of units. Functions of several units at once, such as a
softmax, a product with a gate or a normalisation, have no place here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

ROUNDING = 1e-2  # of 16 bits


class _Known(NamedTuple):
    """A function of values and of further arguments, which modules hold as attributes of these names."""

    function: Callable[..., Tensor]
    arguments: tuple[str, ...] = ()


def _quick_gelu(values: Tensor) -> Tensor:
    return values * torch.sigmoid(1.702 * values)


KNOWN: Mapping[str, _Known] = {
    "ReLU": _Known(functional.relu),
    "ReLU6": _Known(functional.relu6),
    "LeakyReLU": _Known(functional.leaky_relu, ("negative_slope",)),
    "ELU": _Known(functional.elu, ("alpha",)),
    "CELU": _Known(functional.celu, ("alpha",)),
    "SELU": _Known(functional.selu),
    "GELU": _Known(lambda values, approximate: functional.gelu(values, approximate=approximate), ("approximate",)),
    "QuickGELU": _Known(_quick_gelu),
    "SiLU": _Known(functional.silu),
    "Mish": _Known(functional.mish),
    "Softplus": _Known(functional.softplus, ("beta", "threshold")),
    "Tanh": _Known(torch.tanh),
    "Sigmoid": _Known(torch.sigmoid),
    "Hardswish": _Known(functional.hardswish),
    "Hardsigmoid": _Known(functional.hardsigmoid),
    "Hardtanh": _Known(functional.hardtanh, ("min_val", "max_val")),
}
# Modules of other libraries that compute one of these, by the names of their classes.
ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "GELUActivation": ("GELU", "none"),
    "GELUTanh": ("GELU", "tanh"),
    "PytorchGELUTanh": ("GELU", "tanh"),
    "NewGELUActivation": ("GELU", "tanh"),
    "FastGELUActivation": ("GELU", "tanh"),
    "QuickGELU": ("QuickGELU",),
    "QuickGELUActivation": ("QuickGELU",),
    "SiLUActivation": ("SiLU",),
}


@dataclass(frozen=True)
class NonLinearity:
    """One of the table ``KNOWN``, with its ``arguments``; called with values it gives theirs.

    >>> NonLinearity("LeakyReLU", (0.5,))(torch.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    name: str = "ReLU"
    arguments: tuple[float | str, ...] = ()

    def __call__(self, values: Tensor) -> Tensor:
        """Of values of any shape, in new memory."""
        return KNOWN[self.name].function(values, *self.arguments)

    @property
    def is_relu(self) -> bool:
        """Whether units are mixed with thresholds."""
        return self.name == "ReLU"

    def text(self) -> str:
        """As it is stored."""
        return json.dumps([self.name, *self.arguments])

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises ValueError for a name that is not in the table."""
        name, *arguments = json.loads(text)
        if name not in KNOWN:
            raise ValueError(f"{name} is no known non-linearity; known are {', '.join(KNOWN)}")
        return cls(name, tuple(arguments))


RELU = NonLinearity()


def computed_by(module: nn.Module) -> NonLinearity | None:
    """What a module says that it computes, by its class; None where that is in neither table."""
    kind = type(module)
    for base in kind.__mro__:
        known = KNOWN.get(base.__name__)
        if known is not None and base is getattr(nn, base.__name__, None) and kind.forward is base.forward:
            return NonLinearity(base.__name__, tuple(getattr(module, name) for name in known.arguments))
    if kind.__name__ in ELSEWHERE:
        name, *arguments = ELSEWHERE[kind.__name__]
        return NonLinearity(name, tuple(arguments))
    return None


def computes(module: nn.Module, by: NonLinearity, values: Tensor, out: Any) -> bool:
    """Whether ``out`` is what ``module``, said to compute ``by``, gives of ``values``; others' are checked."""
    if computed_by(module) != by or not isinstance(out, Tensor) or out.shape != values.shape:
        return False
    if type(module).__name__ not in ELSEWHERE or out.is_meta:
        return True
    with torch.no_grad():
        return torch.allclose(by(values[:1].float()), out[:1].float(), rtol=ROUNDING, atol=ROUNDING)
