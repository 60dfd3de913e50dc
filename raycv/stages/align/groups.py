"""The networks of one kind, trained or untrained, in one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raycv.analysis.folds import LayerStatistics, correlations
from raycv.analysis.measures.covariances import Covariances
from raycv.analysis.moments import Moments, covariance, offsets
from raycv.networks.spec import NetworkSpec


@dataclass(frozen=True)
class Group:
    """``specs`` of N networks and their ``statistics`` in one layer."""

    specs: Sequence[NetworkSpec]
    statistics: LayerStatistics

    @cached_property
    def left_out(self) -> np.ndarray:
        """(U,): the stacked units that take no part, dead and rare ones."""
        return self.statistics.left_out()

    @cached_property
    def moments(self) -> Moments:
        """Over all images."""
        return self.statistics.all

    @property
    def width(self) -> int:
        """Units of the widest network."""
        return int(self.statistics.folds[0].widths.max())

    def correlations(self) -> dict[tuple[int, int], np.ndarray]:
        """(S_a, S_b) of every pair of networks a <= b, NaN where a unit takes no part."""
        return correlations(self.moments, self.left_out)

    def covariances(self, moments: Moments, a: int, b: int) -> Covariances:
        """Of the units of networks a and b that take part, over the images of ``moments``."""
        bounds = offsets(moments.widths)
        rows, columns = (np.flatnonzero(~self.left_out[bounds[n] : bounds[n + 1]]) for n in (a, b))
        whole = Covariances(covariance(moments, a, a), covariance(moments, a, b), covariance(moments, b, b))
        return whole.among(rows, columns)

    def alike(self, spec: NetworkSpec) -> list[int]:
        """The numbers of the networks built like ``spec``."""
        return [n for n, own in enumerate(self.specs) if own.architecture == spec.architecture]
