"""What chance gives in the place of a network's units, layer by layer, as the pass has collected it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from raycv.analysis.activity import mixtures_left_out
from raycv.analysis.nulls import scaled
from raycv.analysis.significance import Draws
from raycv.stages.align.groups import NetworkGroup
from raycv.statistics.moments import offsets
from raycv.statistics.reader import Statistics, tested_against

Similarities = dict[tuple[int, int], np.ndarray]  # two networks a, b -> (S_a, S_b)
KINDS = ("prerelu", "shuffled", "shuffled_within")


class LayerNulls:
    """One layer of some networks of a group: correlations, and what chance gives in their place; NaN where left out.

    ``correlations``: of every pair a <= b, (S_a, S_b). ``left_out``: by network (S,), dead and rare units. Networks go
    by their numbers in the group.
    """

    def __init__(self, found: Statistics, layer: str, group: str, networks: Sequence[int]) -> None:
        self.networks = networks
        self.group = NetworkGroup(found.groups[group], found.among(layer, networks, group), tuple(networks))
        bounds = offsets(self.group.moments.widths)
        of_net = (self.group.left_out[first:last] for first, last in pairwise(bounds))
        self.left_out = dict(zip(networks, of_net, strict=True))
        self.correlations: Similarities = self.group.correlations(self.group.moments)
        self._draws = {n: found.draws(layer, n, group, others=networks) for n in networks}
        self._chance = {n: found.chance(layer, n, group, others=networks) for n in networks}

    @property
    def ordered(self) -> list[tuple[int, int]]:
        """All ordered pairs of different networks."""
        return [(a, b) for a in self.networks for b in self.networks if a != b]

    def cross(self, a: int, b: int) -> np.ndarray:
        """Correlations (S_a, S_b) of any two networks."""
        return self.correlations[a, b] if a <= b else self.correlations[b, a].T

    def covariances(self, network: int) -> np.ndarray:
        """Of a network's units (S, S)."""
        return scaled(self.correlations[network, network], self.group.deviations[network])

    def by_chance(self, kind: str, a: int, b: int, *, information: bool = False) -> np.ndarray | None:
        """(S_a, S_b): a's units with chance of one of ``KINDS`` in the place of b's.

        Correlations, or with ``information`` mutual information; None where the pass has none of that kind.
        """
        first, last = sorted((a, b))
        mixed = kind == "prerelu"
        # Samples shifted in either network are the same pairing, stored once; mixed units are of one network.
        of, other = (b, a) if mixed else (last, first)
        values = self._chance[of].get(f"information/{kind}/{other}" if information else f"{kind}/{other}")
        if values is None:
            return None
        columns = self._mixed_left_out(b) if mixed else self.left_out[b]
        undefined = self.left_out[a][:, None] | columns
        return np.where(undefined, np.nan, values if mixed or a < b else values.T)

    def draws(self, a: int, b: int) -> list[Draws]:
        """What a's units are tested against: images of b shuffled and b's units mixed before the non-linearity.

        None where the pass has no such draws.
        """
        return tested_against(self._draws, a, b)

    def mixed_draws(self, a: int, b: int) -> Draws | None:
        """Those of ``draws`` with b's units mixed before the non-linearity; None where there are none."""
        drawn = self.draws(a, b)
        return drawn[1] if len(drawn) > 1 else None

    def _mixed_left_out(self, network: int) -> np.ndarray:
        """(S,): the least active mixtures of a network's units, as many as it has units that are left out."""
        return mixtures_left_out(self._chance[network]["prerelu/active"], int(self.left_out[network].sum()))
