"""The published measures of similarity of a run's table `measures`, of two members of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from raycv.analysis.similarity import Interval, jackknife
from raycv.stages.align.groups import NetworkGroup
from raycv.stages.align.measures import measure
from raycv.statistics.folds import LayerStatistics


class MeasuredValue(NamedTuple):
    """One measure of member ``a`` and member ``b``, 0 or 1; what rotations give by ``chance``, NaN for most."""

    a: int
    b: int
    measure: str
    value: float
    interval: Interval
    chance: float


def measured(statistics: LayerStatistics) -> Iterator[MeasuredValue]:
    """All measures of the two members of ``statistics``, with intervals over folds as in a run; some both ways."""
    found = measure(NetworkGroup((), statistics, (0, 1)))
    for key, value in (found.values | found.masses).items():
        interval = jackknife(value, [replicate.get(key, np.nan) for replicate in found.replicates])
        yield MeasuredValue(*key, value, interval, found.rotated.get(key, float("nan")))
