"""Rows of the tables epochs and partner_epochs: how the alignment of the networks comes about in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from raycv.analysis.matching import Matching, agreement
from raycv.analysis.nulls import effective_dimension
from raycv.analysis.recurrence import Recurrence
from raycv.run import tables
from raycv.stages.align.beyond import average, beyond_chance
from raycv.stages.align.chance import Layer
from raycv.stages.align.matched import match
from raycv.stages.align.recurring import recurrence_of
from raycv.stages.collect.statistics import Statistics

AVERAGES = ("rotated_mean", "excess", "prerelu_mean", "prerelu_excess")


class ThroughTraining:
    """One layer of the trained networks after every epoch that was kept, and after the last one."""

    def __init__(self, found: Statistics, layer: str, nets: Layer, recurs: Recurrence) -> None:
        """``nets``: the networks after the last epoch, with the partners ``recurs`` of their units."""
        self.layer, self.specs, self.last, self.recurs = layer, found.networks, nets, recurs
        self.last_epoch = int(tables.last_epochs(found.store)[0]["epoch"])
        self.by_epoch = {epoch: Layer(found, layer, group) for epoch, group in found.epochs.items()}
        self.by_epoch[self.last_epoch] = nets
        self.pairs = {epoch: match(of_epoch.correlations) for epoch, of_epoch in self.by_epoch.items()}
        self.settled = {
            (a, b): settled_epochs({epoch: pairs[a, b, "semi"] for epoch, pairs in self.pairs.items()})
            for a, b in nets.ordered
        }

    def rows(self) -> pd.DataFrame:
        """One row per epoch and ordered pair of networks."""
        rows = []
        for epoch, of_epoch in self.by_epoch.items():
            recurs = self.recurs if of_epoch is self.last else recurrence_of(of_epoch.group)
            beyond = beyond_chance(of_epoch, recurs)
            dimensions = [effective_dimension(of_epoch.cross(n, n)) for n in of_epoch.networks]
            for a, b in of_epoch.ordered:
                key = (a, b, "semi")
                last = self.pairs[self.last_epoch][key]
                rows.append(
                    self._about(a, b)
                    | {"epoch": epoch, "mean": average(self.pairs[epoch][key])}
                    | {name: beyond[key][name] for name in AVERAGES}
                    | {
                        "effective_dimension": dimensions[a],
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
