"""Rows of the tables epochs and partner_epochs: how the alignment of the networks comes about in training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np
import pandas as pd

from raycv.analysis.matching import Matching, agreement
from raycv.run import tables
from raycv.stages.align.comparison import Compared
from raycv.stages.align.excess import ONE_DRAW, average
from raycv.statistics.reader import Statistics

AVERAGES = ("rotated_mean", "excess")
MIXED_BEFORE_RELU = ("prerelu_mean", "prerelu_excess")  # by one draw after every epoch, so that epochs can be compared


class ThroughTraining:
    """One layer of the trained networks after every epoch that was kept, and after the last one."""

    def __init__(self, found: Statistics, layer: str, by_epoch: Mapping[int, Compared], last: Compared) -> None:
        """``by_epoch``: of the epochs that were kept, ``last``: after the last one."""
        self.layer, self.specs = layer, found.networks
        self.last_epoch = int(tables.last_epochs(found.store)[0]["epoch"])
        self.by_epoch = {**by_epoch, self.last_epoch: last}
        self.pairs = {epoch: of_epoch.pairs for epoch, of_epoch in self.by_epoch.items()}
        self.settled = {
            (a, b): settled_epochs({epoch: pairs[a, b, "semi"] for epoch, pairs in self.pairs.items()})
            for a, b in permutations(range(len(self.specs)), 2)
        }

    def rows(self) -> pd.DataFrame:
        """One row per epoch and ordered pair of networks."""
        rows = []
        for epoch, of_epoch in self.by_epoch.items():
            for a, b in self.settled:
                key = (a, b, "semi")
                last = self.pairs[self.last_epoch][key]
                rows.append(
                    self._about(a, b)
                    | {"epoch": epoch, "mean": average(self.pairs[epoch][key])}
                    | {name: of_epoch.beyond[key][name] for name in AVERAGES}
                    | {name: of_epoch.beyond[a, b, ONE_DRAW][name] for name in MIXED_BEFORE_RELU}
                    | {
                        "effective_dimension": of_epoch.dimensions[a],
                        "same_partner": agreement(last, self.pairs[epoch][key]),
                        "settled": float((self.settled[a, b] <= epoch)[last.columns >= 0].mean()),
                    }
                )
        return pd.DataFrame(rows)

    def unit_rows(self) -> pd.DataFrame:
        """One row per ordered pair of networks and unit of the first that has a partner."""
        frames = []
        for (a, b, method), last in sorted(self.pairs[self.last_epoch].items()):
            if method == "semi":
                units = np.flatnonzero(last.columns >= 0)
                columns = {"unit_a": units, "unit_b": last.columns[units], "value": last.values[units]}
                frames.append(pd.DataFrame(self._about(a, b) | columns | {"epoch": self.settled[a, b][units]}))
        return pd.concat(frames)

    def _about(self, a: int, b: int) -> dict[str, str]:
        return {"layer": self.layer, "net_a": self.specs[a].name, "net_b": self.specs[b].name}


def settled_epochs(matchings: Mapping[int, Matching]) -> np.ndarray:
    """(S,): the first epoch from which on the partner of each unit is always the one that it has at the end.

    ``matchings``: of the epochs that were kept, rising.
    """
    *earlier, last = matchings.items()
    epochs = np.full(len(last[1].columns), last[0])
    same = np.ones(len(epochs), dtype=bool)
    for epoch, matching in reversed(earlier):
        same &= matching.columns == last[1].columns
        epochs[same] = epoch
    return epochs
