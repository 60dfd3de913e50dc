"""Which positions of sequences are samples: padding is none, nor are tokens that are left out by name.

Sequences of one batch are padded to one length, and what networks make of the padding is no activation of anything:
counted in, it moves every correlation. Tokenizers and collators say where it is by ``attention_mask``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from raycv.devices import in_float64
from raycv.errors import UserError

MASK = "attention_mask"  # as tokenizers, processors and collators name it
SPECIAL = "special_tokens_mask"
Mask = str | Callable[[Any], Tensor] | None
Without = Literal["first", "special"]


class Masks:
    """Reads the mask of every batch.

    ``mask``: the name of a part of a batch, a function of a batch, or None where all positions are samples.
    ``without``: what is left out besides: the first position of each sequence, and special tokens.
    """

    def __init__(self, mask: Mask = MASK, without: Sequence[Without] = ()) -> None:
        given = [without] if isinstance(without, str) else list(without)
        for name in given:
            if name not in get_args(Without):
                raise UserError(f'without has {name!r}; allowed are "first" and "special".')
        self._mask, self._without = mask, given

    @property
    def names(self) -> set[str]:
        """The parts of a batch that are for this and not for networks, but for those that take them."""
        return {MASK, SPECIAL, *([self._mask] if isinstance(self._mask, str) else [])}

    def of(self, batch: Any, count: int) -> Tensor | None:
        """(count, T) bool: which positions are samples; None where all are. Raises UserError for what is no mask."""
        mask = self._given(batch, count)
        if not self._without:
            return mask
        mask = _all_of(batch, count) if mask is None else mask
        if "special" in self._without:
            mask = mask & ~self._special(batch, mask)
        if "first" in self._without:
            sequence = self._given(batch, count)
            begun = torch.ones_like(mask) if sequence is None else sequence
            mask = mask & (begun.cumsum(1) > 1)
        return mask

    def _given(self, batch: Any, count: int) -> Tensor | None:
        if self._mask is None:
            return None
        if not isinstance(self._mask, str):
            return _checked("what mask gives", self._mask(batch), count)
        if not isinstance(batch, Mapping) or self._mask not in batch:
            if self._mask == MASK:
                return None
            there = ", ".join(map(repr, batch)) if isinstance(batch, Mapping) else "no names"
            raise UserError(f"mask is {self._mask!r}, and a batch of data has {there}.")
        return _checked(repr(self._mask), batch[self._mask], count)

    def _special(self, batch: Any, mask: Tensor) -> Tensor:
        if not isinstance(batch, Mapping) or SPECIAL not in batch:
            raise UserError(
                f"without leaves out special tokens, and a batch of data has no {SPECIAL!r}; tokenizers give it with "
                "return_special_tokens_mask=True."
            )
        special = _checked(repr(SPECIAL), batch[SPECIAL], len(mask))
        if special.shape != mask.shape:
            raise UserError(
                f"{SPECIAL!r} has shape {tuple(special.shape)} and the mask of positions {tuple(mask.shape)}."
            )
        return special


def _all_of(batch: Any, count: int) -> Tensor:
    """A mask of all positions of the tokens in a batch."""
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple) else [batch]
    for part in parts:
        if isinstance(part, Tensor) and part.ndim == 2 and len(part) == count and not part.is_floating_point():
            return torch.ones(part.shape, dtype=torch.bool)
    raise UserError(
        "without leaves out positions, and a batch of data has no tensor (sequences, positions) of tokens; give a mask."
    )


def _checked(name: str, values: Any, count: int) -> Tensor:
    """As (count, T) bool. Raises UserError for what does not say yes or no of every position."""
    mask = values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(values)
    if mask.ndim != 2 or len(mask) != count:
        raise UserError(
            f"{name} has shape {tuple(mask.shape)}, and a mask says of every position of {count:,} sequences whether "
            "it counts: (sequences, positions); give such a one with mask=, or mask=None, with which all count."
        )
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        odd = mask[(mask != 0) & (mask != 1)][0].item()
        raise UserError(f"{name} holds {odd:g}, and a mask holds 1 where a position counts and 0 where it does not.")
    return mask != 0


def sequences(activations: Mapping[str, Tensor], mask: Tensor | None) -> Tensor | None:
    """Which positions (n, T) of activations (n, S, T) are samples; None where they are of no sequences.

    Raises UserError where a layer has other positions than the mask.
    """
    values = next(iter(activations.values()))
    if values.ndim == 2:
        return None
    if mask is None:
        return torch.ones((len(values), values.shape[2]), dtype=torch.bool) if values.ndim == 3 else None
    for name, one in activations.items():
        _check_positions(name, one, mask)
    return mask


def masked_mean(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """The means (n, S) over the positions that count, in float64 where the device has it. Raises UserError."""
    _check_positions(name, values, mask)
    counts = mask.sum(1)
    if not counts.all():
        raise UserError(
            f"Sequence {int((counts == 0).nonzero()[0, 0]) + 1:,} of a batch has no position that counts, and so no "
            'mean over positions; leave it out of data, or compare positions="same".'
        )
    kept = mask.to(values.device)[:, None]
    wide = in_float64(torch.where(kept, values, 0))
    return wide.sum(2) / counts.to(wide.device)[:, None]


def _check_positions(name: str, values: Tensor, mask: Tensor) -> None:
    if values.ndim != 3 or values.shape[2] != mask.shape[1]:
        grid = " x ".join(map(str, values.shape[2:]))
        raise UserError(
            f"{name} has {grid} positions and the mask says which of {mask.shape[1]:,} count; give mask= a function of "
            "a batch that says it of those, or mask=None, with which all count."
        )
