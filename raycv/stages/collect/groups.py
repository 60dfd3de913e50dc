"""Which networks the pass compares with one another, and how much of them runs at once. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from raycv.networks.spec import NetworkSpec

BATCH = 64  # images forwarded at once
TOKENS = 4096  # of texts forwarded at once, if a text has no more
UNITS_AT_ONCE = 4096  # whose samples are held to be tested
ROWS_AT_ONCE = 1024  # rows of a fully connected layer gathered before they are multiplied
UNTRAINED = 4  # networks at most of an architecture before training

Groups = dict[str, tuple[NetworkSpec, ...]]  # group -> networks compared with one another


def batch_of(specs: Iterable[NetworkSpec]) -> int:
    """Images, or texts, that are forwarded at once."""
    contexts = [spec.tokens.context for spec in specs if spec.tokens is not None]
    return max(1, TOKENS // max(contexts)) if contexts else BATCH


def untrained_specs(specs: Sequence[NetworkSpec]) -> tuple[NetworkSpec, ...]:
    """Untrained networks of every architecture in ``specs``: its first networks before training, two to four.

    None of recorded activations. No two have the same seed: layers of one shape that are drawn first, as those of two
    folders or of a ResNet-18 and a ResNet-34, would have the same weights, and the same units.
    """
    nulls: list[NetworkSpec] = []
    free = count(1)
    for architecture in dict.fromkeys(spec.architecture for spec in specs if not spec.is_recorded):
        alike = [spec for spec in specs if spec.architecture == architecture]
        first, seeds = alike[0], list(dict.fromkeys(spec.seed for spec in alike))[:UNTRAINED]
        for seed in seeds if len(seeds) > 1 else [first.seed, first.seed + 1]:
            taken = {null.seed for null in nulls}
            own = seed if seed not in taken else next(n for n in free if n not in taken)
            nulls.append(first.model_copy(update={"name": f"null{len(nulls) + 1}", "seed": own, "across": ()}))
    return tuple(nulls)
