"""Which tokens of a layer are its patches: (B, S, tokens) into the class token, and a square of patches without it.

A layer's name may end in ``:class``, the class token alone, or ``:patches``, the tokens without class and register
tokens. These stand before the patches. How many there are, the model says: timm's by ``num_prefix_tokens``, others by
the parameters that these tokens begin as, or by the plane of patches that they come from. Recordings say nothing; there
they are as few as leave a square: 1 of 197 tokens, 5 of 261.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from raycv.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

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


def part_among(layer: str, there: Collection[str]) -> Part:
    """The same among the layers of a recording: one that has just this name means itself, whatever it ends in."""
    return Part(layer, "") if layer in there else part_of(layer)


def before_patches(tokens: int) -> int | None:
    """How many of ``tokens`` stand before a square of patches; None where up to 8 do not leave one.

    >>> before_patches(197), before_patches(261), before_patches(196), before_patches(79)
    (1, 5, 0, None)
    """
    return next(
        (few for few in range(min(MOST, tokens - 1) + 1) if math.isqrt(tokens - few) ** 2 == tokens - few), None
    )


class Prefix(NamedTuple):
    """What stands before the patches in a model's tokens: how many in all, and whether the first is a class token.

    ``is_told``: whether the model says so.
    """

    tokens: int
    has_class: bool
    is_told: bool = True


UNKNOWN = Prefix(
    0, has_class=False, is_told=False
)  # of a model that says nothing; it has but patches, so far as is known
CLASS_NAMES = ("cls_token", "class_token", "class_embedding")
OTHER_NAMES = ("dist_token", "distillation_token", "reg_token", "register_tokens", "register_token", "storage_tokens")


def prefixes_of(net: nn.Module, layers: Iterable[str], grids: Mapping[str, tuple[int, ...]]) -> dict[str, Prefix]:
    """By layer, what the model says of the tokens before patches, or the part of it that is nearest to the layer.

    ``grids``: the positions of the layers of the model. Where it says nothing, a layer with a few tokens more than
    another has positions in a plane has its patches from there, and a class token first.
    """
    from raycv.networks.module_paths import modules_of, path_of, unwrapped  # which needs PyTorch

    modules = {"": unwrapped(net)} | modules_of(net)
    planes = {math.prod(grid) for grid in grids.values() if len(grid) == 2}

    @cache
    def told_at(path: str) -> Prefix | None:
        around = modules.get(path)
        found = None if around is None else _prefix_in(around)
        return found if found is not None or not path else told_at(path.rpartition(".")[0])

    def found_of(layer: str) -> Prefix:
        told = told_at(path_of(layer).rpartition(".")[0])
        if told is not None:
            return told
        tokens = grids.get(layer, ())
        more = [tokens[0] - patches for patches in planes if len(tokens) == 1 and 0 <= tokens[0] - patches <= MOST]
        return Prefix(min(more), has_class=min(more) > 0) if more else UNKNOWN

    return {layer: found_of(layer) for layer in layers}


def _prefix_in(module: nn.Module) -> Prefix | None:
    parameters = {name.rpartition(".")[2]: parameter for name, parameter in module.named_parameters()}
    has_class = any(name in parameters for name in CLASS_NAMES)
    told = getattr(module, "num_prefix_tokens", None)
    if isinstance(told, int):
        return Prefix(told, bool(getattr(module, "has_class_token", has_class)))
    tokens = [parameters[name] for name in (*CLASS_NAMES, *OTHER_NAMES) if name in parameters]
    if not tokens:
        return None
    return Prefix(sum(one.shape[-2] if one.ndim > 1 else 1 for one in tokens), has_class)


def after_choice(part: Part, prefix: Prefix) -> Prefix:
    """What stands before the patches once the tokens that a layer's name means are taken."""
    return Prefix(0, has_class=False, is_told=prefix.is_told) if part.tokens else prefix


def taken(layer: str | Part, values: Tensor, prefix: Prefix | None = None) -> Tensor:
    """Of the activations (B, S, tokens) of a module, those that ``layer`` means; all where its name has no suffix.

    (B, S) of the class token, (B, S, tokens - t) of the patches. ``prefix``: as the model says; None for recordings.
    Raises UserError where the module gives no tokens, or none of this kind.
    """
    part = part_of(layer) if isinstance(layer, str) else layer
    if not part.tokens:
        return values
    name = f"{part.path}:{part.tokens}"
    if values.ndim != 3:
        raise UserError(
            f"{name!r} asks for tokens, and {part.path!r} gives activations of shape {tuple(values.shape)} (images, "
            f"units, positions); name it {part.path!r}."
        )
    if prefix is not None:
        return _told(part, values, prefix)
    few = before_patches(values.shape[2])
    if few is None or (part.tokens == CLASS and not few):
        found = "are a square of patches" if few == 0 else f"are no square, nor are they without up to {MOST}"
        raise UserError(f"{part.path!r} has no class token to tell: its {values.shape[2]} tokens {found}.")
    return values[:, :, 0] if part.tokens == CLASS else values[:, :, few:]


def _told(part: Part, values: Tensor, prefix: Prefix) -> Tensor:
    if not prefix.is_told:
        raise UserError(f"The model does not say which tokens of {part.path!r} are its {part.tokens}; compare all.")
    if part.tokens == CLASS and not prefix.has_class:
        raise UserError(f"{part.path!r} has no class token, as its model says; it has {prefix.tokens} others.")
    if values.shape[2] <= prefix.tokens:
        raise UserError(
            f"{part.path!r} gives {values.shape[2]} tokens and the model has {prefix.tokens} before patches."
        )
    return values[:, :, 0] if part.tokens == CLASS else values[:, :, prefix.tokens :]


def squared(values: Tensor, prefix: Prefix | None = None) -> Tensor:
    """The patches (B, S, H, H) of activations (B, S, tokens); others, and tokens that hold no square, as they are.

    ``prefix``: as the model says; None for recordings.
    """
    if values.ndim != 3:
        return values
    few = before_patches(values.shape[2]) if prefix is None else prefix.tokens
    if few is None or few >= values.shape[2] or math.isqrt(values.shape[2] - few) ** 2 != values.shape[2] - few:
        return values
    side = math.isqrt(values.shape[2] - few)
    return values[:, :, few:].reshape(*values.shape[:2], side, side)


def grid_of(positions: Sequence[int]) -> tuple[int, int] | None:
    """The (height, width) of a layer's positions; None where they are no grid."""
    if len(positions) == 2:
        return positions[0], positions[1]
    few = before_patches(positions[0]) if len(positions) == 1 else None
    side = None if few is None else round((positions[0] - few) ** 0.5)
    return None if side is None else (side, side)
