"""The networks of one kind, trained or untrained, in one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raycv.analysis.measures.covariances import Covariances
from raycv.networks.spec import NetworkSpec
from raycv.statistics.folds import LayerStatistics, correlations
from raycv.statistics.moments import JointMoments, covariance, offsets


@dataclass(frozen=True)
class NetworkGroup:
    """Some networks of a group in one layer. ``specs``: of all networks of the group; ``statistics``: of ``numbers``.

    Networks go by their numbers in ``specs``; ``numbers`` are all of them where none are named.
    """

    specs: Sequence[NetworkSpec]
    statistics: LayerStatistics
    numbers: Sequence[int] = ()

    @property
    def networks(self) -> Sequence[int]:
        """The numbers of the networks, rising."""
        return self.numbers or range(len(self.specs))

    @cached_property
    def left_out(self) -> np.ndarray:
        """(U,): the stacked units that take no part, dead and rare ones."""
        return self.statistics.left_out()

    @cached_property
    def moments(self) -> JointMoments:
        """Over all images."""
        return self.statistics.all

    @property
    def width(self) -> int:
        """Units of the widest network."""
        return int(self.statistics.folds[0].widths.max())

    def correlations(self, moments: JointMoments) -> dict[tuple[int, int], np.ndarray]:
        """(S_a, S_b) of every pair of networks a <= b over the images of ``moments``; NaN where a unit is left out."""
        found = correlations(moments, self.left_out)
        return {(self.networks[a], self.networks[b]): values for (a, b), values in found.items()}

    def covariances(self, moments: JointMoments, a: int, b: int) -> Covariances:
        """Of the units of networks a and b that take part, over the images of ``moments``."""
        bounds = offsets(moments.widths)
        first, second = self.networks.index(a), self.networks.index(b)
        rows, columns = (np.flatnonzero(~self.left_out[bounds[n] : bounds[n + 1]]) for n in (first, second))
        within, cross = covariance(moments, first, first), covariance(moments, first, second)
        other = within if a == b else covariance(moments, second, second)
        return Covariances(within, cross, other).among(rows, columns)


def alike(specs: Sequence[NetworkSpec], spec: NetworkSpec) -> list[int]:
    """The numbers of the networks in ``specs`` that are built like ``spec``."""
    return [n for n, own in enumerate(specs) if own.architecture == spec.architecture]
