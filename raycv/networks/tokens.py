"""Which tokens of a layer are its patches: (B, S, tokens) into the class token, and a square of patches without it.

A layer's name may end in ``:class``, the class token alone, or ``:patches``, the tokens without class and register
tokens. These stand before the patches, and are as few as leave a square: 1 of 197 tokens, 5 of 261.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from raycv.errors import UserError

CLASS, PATCHES = "class", "patches"
MOST = 8  # class and register tokens


class Part(NamedTuple):
    """A module path, and which of its tokens are meant: "class", "patches" or "" for all."""

    path: str
    tokens: str


def part_of(layer: str) -> Part:
    """The module path and the tokens that a layer's name means."""
    path, _, tokens = layer.rpartition(":")
    return Part(path, tokens) if path and tokens in (CLASS, PATCHES) else Part(layer, "")


def before_patches(tokens: int) -> int | None:
    """How many of ``tokens`` stand before a square of patches; None where up to 8 do not leave one.

    >>> before_patches(197), before_patches(261), before_patches(196), before_patches(79)
    (1, 5, 0, None)
    """
    return next(
        (few for few in range(min(MOST, tokens - 1) + 1) if math.isqrt(tokens - few) ** 2 == tokens - few), None
    )


def taken(layer: str, values: Tensor) -> Tensor:
    """Of the activations (B, S, tokens) of a module, those that ``layer`` means; all where its name has no suffix.

    (B, S) of the class token, (B, S, tokens - t) of the patches. Raises UserError where the module gives no tokens, or
    none of this kind.
    """
    part = part_of(layer)
    if not part.tokens:
        return values
    if values.ndim != 3:
        raise UserError(
            f"{layer!r} asks for tokens, and {part.path!r} gives activations of shape {tuple(values.shape)} (images, "
            f"units, positions); name it {part.path!r}."
        )
    few = before_patches(values.shape[2])
    if few is None or (part.tokens == CLASS and not few):
        found = "are a square of patches" if few == 0 else f"are no square, nor are they without up to {MOST}"
        raise UserError(f"{part.path!r} has no class token to tell: its {values.shape[2]} tokens {found}.")
    return values[:, :, 0] if part.tokens == CLASS else values[:, :, few:]


def squared(values: Tensor) -> Tensor:
    """The patches (B, S, H, H) of activations (B, S, tokens); others, and tokens that hold no square, as they are."""
    few = before_patches(values.shape[2]) if values.ndim == 3 else None
    if few is None:
        return values
    side = math.isqrt(values.shape[2] - few)
    return values[:, :, few:].reshape(*values.shape[:2], side, side)
