"""Rows of the tables across and across_units: every layer of one network with every layer of the others.

A sample is an image: a layer with positions is its mean over them, so that layers of any grids can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from raycv.analysis.averages import mean
from raycv.analysis.matching import semi_matching
from raycv.analysis.measures.alignment import linear_cka
from raycv.analysis.nulls import best_correlation, rotated
from raycv.run.paths import ACROSS
from raycv.stages.align.groups import NetworkGroup
from raycv.statistics.folds import correlation_of
from raycv.statistics.parts import parts
from raycv.statistics.reader import Statistics

ROTATIONS = 2  # of a layer's units; there are many pairs of layers


@dataclass
class _Best:
    """The best partners so far of the units of one layer in another network."""

    layer: np.ndarray
    unit: np.ndarray
    value: np.ndarray

    @classmethod
    def none(cls, units: int) -> _Best:
        return cls(np.full(units, -1), np.full(units, -1), np.full(units, np.nan))

    def update(self, layer: int, cross: np.ndarray) -> None:
        """Take those of another layer where they are better; ``cross`` (S, S_b)."""
        filled = np.where(np.isfinite(cross), cross, -np.inf)
        unit = filled.argmax(1)
        value = filled[np.arange(len(unit)), unit]
        better = np.isfinite(value) & ~(value <= self.value)
        self.layer[better], self.unit[better], self.value[better] = layer, unit[better], value[better]


class Across:
    """All layers of all networks."""

    def __init__(self, found: Statistics) -> None:
        self.found, self.specs = found, found.groups[ACROSS]
        at_once = len(parts(found.widths(ACROSS, ACROSS))) == 1
        self.whole = NetworkGroup(self.specs, found.layer(ACROSS, ACROSS)) if at_once else None
        self.nets = [spec.network for spec in self.specs]
        self.layers = [spec.places[0].module for spec in self.specs]
        self.best: dict[tuple[int, str], _Best] = {}  # by layer and other network
        members = range(len(self.nets))
        self.pairs = [(a, b) for a, b in permutations(members, 2) if self.nets[a] != self.nets[b]]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per ordered pair of layers of different networks; notes the best partners of all units."""
        for a, b in self.pairs:
            group = self._group(a, b)
            cross, own = _correlation(group, a, b), _correlation(group, b, b)
            self.best.setdefault((a, self.nets[b]), _Best.none(len(cross))).update(b, cross)
            null = rotated(cross, own, rotations=ROTATIONS, seed=np.random.default_rng([a, b]), device="cpu")
            matched = semi_matching(cross)
            yield {
                "net_a": self.nets[a],
                "layer_a": self.layers[a],
                "net_b": self.nets[b],
                "layer_b": self.layers[b],
                "mean": mean(np.where(matched.columns >= 0, matched.values, np.nan)),
                "excess": mean(best_correlation(cross)) - null.mean,
                "linear_cka": linear_cka(group.covariances(group.moments, a, b)),
            }

    def _group(self, a: int, b: int) -> NetworkGroup:
        """All layers, or two alone where all would take much memory."""
        both = (min(a, b), max(a, b))
        return self.whole or NetworkGroup(self.specs, self.found.among(ACROSS, both, ACROSS), both)

    def unit_rows(self) -> pd.DataFrame:
        """One row per unit and other network, of all layers; after ``rows``."""
        frames = []
        for (a, net), best in self.best.items():
            there = best.unit >= 0
            back = np.zeros(len(there), dtype=bool)
            for unit in np.flatnonzero(there):
                other = self.best[int(best.layer[unit]), self.nets[a]]
                place = int(best.unit[unit])
                back[unit] = other.layer[place] == a and other.unit[place] == unit
            frames.append(
                pd.DataFrame(
                    {
                        "net_a": self.nets[a],
                        "layer_a": self.layers[a],
                        "unit_a": np.arange(len(there)),
                        "net_b": net,
                        "layer_b": [self.layers[layer] if layer >= 0 else "" for layer in best.layer],
                        "unit_b": best.unit,
                        "value": best.value,
                        "is_mutual": back,
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)


def _correlation(group: NetworkGroup, a: int, b: int) -> np.ndarray:
    first, second = (group.networks.index(n) for n in sorted((a, b)))
    found = correlation_of(group.moments, group.left_out, first, second)
    return found if a <= b else found.T


def identified(rows: pd.DataFrame, by: str) -> tuple[int, int]:
    """Of how many layers the one of its own name is the most alike in another network, and of how many that can be.

    The layer identification test (Kornblith et al., 2019), over networks that have a layer of that name; ``by``: a
    column of the table across.
    """
    named = rows.groupby(["net_a", "layer_a", "net_b"], sort=False).filter(
        lambda group: group.name[1] in set(group["layer_b"])
    )
    named = named.dropna(subset=[by])  # of a layer without a live unit
    if named.empty:
        return 0, 0
    best = named.loc[named.groupby(["net_a", "layer_a", "net_b"], sort=False)[by].idxmax()]
    return int((best["layer_a"] == best["layer_b"]).sum()), len(best)
