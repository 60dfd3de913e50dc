"""What chance gives in the place of a network's units, layer by layer, as the pass has collected it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from raycv.analysis.moments import offsets
from raycv.stages.align.groups import Group
from raycv.stages.collect.statistics import Statistics, mixtures_left_out

Similarities = dict[tuple[int, int], np.ndarray]  # two networks a, b -> (S_a, S_b)
KINDS = ("prerelu", "shuffled", "shuffled_within")


class Layer:
    """One layer of one group of networks: correlations, and what chance gives in their place; NaN where left out.

    ``correlations``: of every pair a <= b, (S_a, S_b). ``left_out``: per network (S,), dead and rare units.
    """

    def __init__(self, found: Statistics, layer: str, group: str) -> None:
        moments = found.layer(layer, group)
        self.group = Group(found.groups[group], moments)
        bounds = offsets(self.group.moments.widths)
        self.networks = range(len(self.group.specs))
        self.left_out = [self.group.left_out[first:last] for first, last in pairwise(bounds)]
        self.correlations: Similarities = self.group.correlations()
        self._chance = [found.chance(layer, network, group) for network in self.networks]

    @property
    def kurtosis(self) -> np.ndarray:
        """(U,): the excess kurtosis of the stacked units, in the samples that the pass keeps."""
        return np.concatenate([of_net["kurtosis"] for of_net in self._chance])

    @property
    def ordered(self) -> list[tuple[int, int]]:
        """All ordered pairs of different networks."""
        return [(a, b) for a in self.networks for b in self.networks if a != b]

    def cross(self, a: int, b: int) -> np.ndarray:
        """Correlations (S_a, S_b) of any two networks."""
        return self.correlations[a, b] if a <= b else self.correlations[b, a].T

    def by_chance(self, kind: str, *, information: bool = False) -> Similarities:
        """(S_a, S_b) for every ordered pair: a's units with chance of one of ``KINDS`` in the place of b's.

        Correlations, or with ``information`` mutual information; empty where the pass has none of that kind.
        """
        name = f"information/{kind}" if information else kind
        found: Similarities = {}
        for a, b in self.ordered:
            first, last = sorted((a, b))
            # Samples shifted in either network are the same pairing, stored once; mixed units are of one network.
            of, other = (b, a) if kind == "prerelu" else (last, first)
            values = self._chance[of].get(f"{name}/{other}")
            if values is not None:
                mixed = kind == "prerelu"
                columns = self._mixed_left_out(b) if mixed else self.left_out[b]
                undefined = self.left_out[a][:, None] | columns
                found[a, b] = np.where(undefined, np.nan, values if mixed or a < b else values.T)
        return found

    def _mixed_left_out(self, network: int) -> np.ndarray:
        """(S,): the least active mixtures of a network's units, as many as it has units that are left out."""
        return mixtures_left_out(self._chance[network]["prerelu/active"], int(self.left_out[network].sum()))
