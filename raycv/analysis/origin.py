"""Whether networks share their first weights: then the partner of a unit stands where the unit stands.

Folds, snapshots and fine-tuned twins of one network keep its units in their places; what such networks have in common
need not have been learned twice. Units of networks trained from other first weights have no order in common: renumber
those of b, and nothing that training could tell has changed. So the index of a unit's partner is by chance any of those
that b's units have. Where units are numbered for another reason, as classes are, it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

CERTAIN = 1e-6  # p-values up to here,
MATERIAL = 0.2  # and a share this far above chance, are taken for a shared origin


SHARED = 0.2  # correlation of weights, from where they are taken to have a shared origin


class SameIndex(NamedTuple):
    """Of the units that have a partner: the ``share`` whose partner has their own index, and what ``chance`` gives.

    ``p_value``: at most the probability of so many by chance. All NaN where no unit has a partner.
    """

    share: float
    chance: float
    p_value: float

    @property
    def is_seen(self) -> bool:
        """Whether the networks seem to share their first weights."""
        return self.p_value <= CERTAIN and self.share - self.chance >= MATERIAL


def same_index(partners: ArrayLike, there: ArrayLike) -> SameIndex:
    """How many partners have the index of their unit, its position in its layer.

    ``partners`` (S_a,): of each unit of a, best ones or one to one, -1 where there is none; ``there`` (S_b,): the units
    of b that could be partners, L of them. With these renumbered at random, each of the m units of a whose index is
    there has its partner at it with probability 1 / L. How many at once do is not independent, but k of different
    partners do with probability (L - k)! / L!, and none of one partner, so that k or more have a probability of at most
    C(m, k) (L - k)! / L!, which is at most 1 / k!.

    >>> same_index([0, 1, 2, 4, 3], [True] * 5)._asdict()
    {'share': 0.6, 'chance': 0.2, 'p_value': 0.16666666666666669}
    """
    columns, possible = np.asarray(partners), np.flatnonzero(there)
    matched = np.flatnonzero(columns >= 0)
    if not len(matched) or not len(possible):
        return SameIndex(float("nan"), float("nan"), float("nan"))
    same, able, among = int((columns[matched] == matched).sum()), int(np.isin(matched, possible).sum()), len(possible)
    subsets = math.lgamma(able + 1) - math.lgamma(same + 1) - math.lgamma(able - same + 1)
    logarithm = subsets + math.lgamma(among - same + 1) - math.lgamma(among + 1)
    chance = able / (among * len(matched))
    return SameIndex(same / len(matched), chance, float(np.exp(min(logarithm, 0.0))))


def weight_correlation(one: Mapping[str, ArrayLike], other: Mapping[str, ArrayLike]) -> float:
    """The median, over tensors that both networks have, of the correlation of their weights; NaN where there are none.

    ``one``, ``other``: the same weights (n,) of tensors of the same name and shape, by any key. About 0 for networks
    trained from other first weights, as nothing tells their units apart: within .03 for the four networks of README.
    The median leaves aside tensors that are fixed, as some positional embeddings are, or were begun anew.

    >>> weight_correlation({"conv1": [1, 2, 3, 4]}, {"conv1": [2, 3, 4, 6]}).__round__(2)
    0.98
    """
    both = [np.corrcoef(np.asarray(one[key]), np.asarray(other[key]))[0, 1] for key in one if _vary(one, other, key)]
    return float(np.median(both)) if both else float("nan")


def _vary(one: Mapping[str, ArrayLike], other: Mapping[str, ArrayLike], key: str) -> bool:
    return key in other and all(np.ptp(np.asarray(of[key])) > 0 for of in (one, other))
