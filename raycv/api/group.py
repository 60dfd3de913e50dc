"""Layers that are compared with each other, and what is found of every two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import combinations, permutations
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raycv.analysis.arrays import Floats, neighbours
from raycv.analysis.matching import semi_matching
from raycv.analysis.nulls import rotated_all
from raycv.analysis.partners import partners
from raycv.analysis.rotations import Rotations
from raycv.analysis.significance import q_values
from raycv.api.kept import KeptMembers, Side
from raycv.api.members import Member
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.halves import in_halves
from raycv.statistics.moments import Diagonal, JointMoments, Products, mean, merge, offsets, variance

UnitNames = Mapping[Member, Sequence[str]]  # of layers whose units have names
AT_ONCE = 2**25  # correlations of other layers with one that are rotated together


class Tested(Protocol):
    """What units are tested against beside rotations; see `raycv.api.tested.TestedSamples`."""

    def p_values(
        self, left_out: Sequence[NDArray[np.bool_]], sides: Sequence[Side], rotations: Rotations, /
    ) -> Mapping[tuple[int, int], Floats]:
        """By ordered pair of members, those of a's units (S_a,) with chance in the place of b's."""

    def activations(self, name: str, /) -> NDArray[np.floating[Any]] | None:
        """(n, S): of a member by its name, in samples that are the same for all members; None where none are kept."""


class Top(Protocol):
    """The samples of the largest activations; see `raycv.api.top.TopSamples`."""

    def of(self, name: str, unit: int, /) -> pd.DataFrame:
        """One row per sample of a unit of a member, the largest activation first."""


@dataclass(frozen=True)
class TestedPair:
    """The partners in b of a's units, each (S_a,), NaN for units that have none.

    ``columns``: their numbers, -1 for none. ``rotated``: what rotations of b give in the place of the ``value``, the
    absolute correlation; ``p_values`` and ``q_values`` (`raycv.analysis.partners`). ``rotated_mean``: over units.
    """

    columns: NDArray[np.int64]
    value: Floats
    rotated: Floats
    rotated_mean: float
    p_values: Floats
    q_values: Floats

    @property
    def excess(self) -> Floats:
        """(S_a,): of the value over what rotations give."""
        return self.value - self.rotated


class SomeFolds:
    """The samples of some of the ``folds``, by their numbers. ``left_out`` (U,): stacked units that take no part."""

    def __init__(self, folds: Sequence[JointMoments], chosen: Sequence[int], left_out: np.ndarray) -> None:
        sums = reduce(merge, [replace(folds[n], blocks=_diagonals(folds[n])) for n in chosen])
        self._chosen, self._count, self._mean = chosen, float(sums.count), sums.total / sums.count
        spread = np.sqrt(variance(sums))
        self._spread = np.where(left_out | (spread == 0), np.nan, spread)
        self._bounds = offsets(sums.widths)

    def correlation(self, products: Sequence[Floats], a: int, b: int) -> Floats:
        """(S_a, S_b) of members a and b, from the products of each fold; NaN for units left out or constant here."""
        found = self.covariance(products, a, b)
        found /= self._spread[self._units(a), None]
        found /= self._spread[self._units(b)]
        np.clip(found, -1, 1, out=found)
        if a == b:
            np.fill_diagonal(found, np.where(np.isnan(found.diagonal()), np.nan, 1.0))
        return found

    def covariance(self, products: Sequence[Floats], a: int, b: int) -> Floats:
        """The same of covariances, NaN for the same units."""
        found = np.asarray(sum(products[n] for n in self._chosen) / self._count)
        found -= np.outer(self._mean[self._units(a)], self._mean[self._units(b)])
        found[np.isnan(self._spread[self._units(a)])] = np.nan
        found[:, np.isnan(self._spread[self._units(b)])] = np.nan
        return found

    def _units(self, member: int) -> slice:
        return slice(self._bounds[member], self._bounds[member + 1])


def _diagonals(sums: JointMoments) -> dict[tuple[int, int], Products]:
    return {(n, n): Diagonal(sums.blocks[n, n].diagonal()) for n in range(len(sums.widths))}


class Group:
    """Members that are compared with each other, by their numbers, and what is kept of their samples."""

    def __init__(
        self,
        members: list[Member],
        kept: KeptMembers,
        chance: Tested | None,
        unit_names: UnitNames,
        keep_rare: bool,
        top: Top | None = None,
    ) -> None:
        self.members, self.kept, self.chance, self.unit_names, self.top = members, kept, chance, unit_names, top
        self.singles = replace(kept.singles, keep_rare=keep_rare)
        self.left_out = self.singles.left_out()
        self.sums: JointMoments = self.singles.all
        self._bounds = offsets(self.sums.widths)

    @property
    def samples(self) -> int:
        """How many there are; each position of an image is one."""
        return int(self.sums.count)

    @cached_property
    def nets(self) -> dict[str, list[int]]:
        """The members of every network."""
        found: dict[str, list[int]] = {}
        for n, member in enumerate(self.members):
            found.setdefault(member.net, []).append(n)
        return found

    @property
    def sides(self) -> list[Side]:
        """The members of every two networks."""
        return list(combinations(self.nets.values(), 2))

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """All ordered pairs of members of different networks."""
        nets = [member.net for member in self.members]
        return [(a, b) for a, b in permutations(range(len(nets)), 2) if nets[a] != nets[b]]

    def are_namesakes(self, a: int, b: int) -> bool:
        """Whether two layers have the same name."""
        return self.members[a].layer == self.members[b].layer

    def units_of(self, pairs: Sequence[tuple[int, int]]) -> list[int]:
        """How many pairs of units each of some pairs of layers has."""
        widths = self.sums.widths.tolist()
        return [widths[a] * widths[b] for a, b in pairs]

    def left_out_of(self, *members: int) -> np.ndarray:
        """The stacked units of some members that take no part."""
        return np.concatenate([self.left_out[self._bounds[n] : self._bounds[n + 1]] for n in members])

    def correlation(self, a: int, b: int) -> Floats:
        """(S_a, S_b), NaN where a unit is dead or rare."""
        return self._over.correlation(self.kept.products(a, b), a, b)

    def spread(self, a: int) -> Floats:
        """Covariances (S_a, S_a) of a's units, NaN where a unit is dead or rare."""
        return self._over.covariance(self.kept.products(a, a), a, a)

    @cached_property
    def _over(self) -> SomeFolds:
        return SomeFolds(self.kept.folds, range(len(self.kept.folds)), self.left_out)

    @cached_property
    def _halves(self) -> list[tuple[SomeFolds, SomeFolds]]:
        folds = self.kept.folds
        return [
            (SomeFolds(folds, a, self.left_out), SomeFolds(folds, b, self.left_out)) for a, b in in_halves(len(folds))
        ]

    def folds(self, a: int, b: int) -> LayerStatistics:
        """The moments of two members, as 0 and 1, whose products are made."""
        return LayerStatistics(tuple(fold.of(0, 1) for fold in self.kept.pair(a, b).folds))

    def correlations(self, a: int, b: int, *, halves: bool) -> tuple[Floats, list[tuple[Floats, Floats]]]:
        """``correlation``, and with ``halves`` those in both halves of the samples, in several splits."""
        products = self.kept.products(a, b)
        splits = [tuple(half.correlation(products, a, b) for half in split) for split in self._halves if halves]
        return self._over.correlation(products, a, b), splits  # type: ignore[return-value]

    @cached_property
    def linear_cka(self) -> Floats:
        """(L, L), NaN for members that are not compared."""
        return self.kept.squares(self.sides).cka

    @cached_property
    def unbiased_cka(self) -> Floats:
        """The same without bias."""
        return self.kept.unbiased_squares(self.sides).cka

    @cached_property
    def tested(self) -> dict[tuple[int, int], TestedPair]:
        """The partners of all pairs, tested: one set of rotations and draws of each member serves all others."""
        left_out = [self.left_out_of(n) for n in range(len(self.members))]
        rotations = Rotations()
        chance = self.chance.p_values(left_out, self.sides, rotations) if self.chance else {}
        found: dict[tuple[int, int], TestedPair] = {}
        for b in range(len(self.members)):
            within, others = self.spread(b), [a for a, of in self.pairs if of == b]
            sizes = [int(self.sums.widths[a]) * len(within) for a in others]
            for some in ([others[n] for n in places] for places in neighbours(sizes, AT_ONCE)):
                crosses = [self.correlation(a, b) for a in some]
                wholes = rotated_all(crosses, within, rotations, device="cpu")
                for a, cross, whole in zip(some, crosses, wholes, strict=True):
                    one = partners(cross, within, seed=rotations, whole=whole, device="cpu")
                    p_values = np.maximum(one.p_values, chance.get((a, b), np.nan))
                    found[a, b] = TestedPair(
                        one.columns, one.values, whole.unit_mean, whole.mean, p_values, q_values(p_values)
                    )
        return found

    def mutual(self, net_a: str, net_b: str) -> pd.DataFrame:
        """The units of two networks that are each other's best partner among those of all layers."""
        a, b = self.nets[net_a], self.nets[net_b]
        there, back = _best_of_layers(self, a, b), _best_of_layers(self, b, a)
        columns, values = there
        rows = np.flatnonzero((columns >= 0) & (back[0][columns] == np.arange(len(columns))))
        found: dict[str, Any] = {}
        for net, side, numbers, units in ((net_a, "a", a, rows), (net_b, "b", b, columns[rows])):
            layers = np.repeat([self.members[n].layer for n in numbers], self.sums.widths[numbers])
            within = np.concatenate([np.arange(width) for width in self.sums.widths[numbers]])
            found |= {f"net_{side}": net, f"layer_{side}": layers[units], f"unit_{side}": within[units]}
        return pd.DataFrame(found | {"value": values[rows]})

    def _names(self, member: Member, width: int) -> np.ndarray:
        """(S,): the units' own names; None where they have none."""
        return np.array(self.unit_names.get(member, (None,) * width), dtype=object)

    def units(self) -> pd.DataFrame:
        """One row for each unit of all members."""
        m, widths = self.sums, self.sums.widths
        return pd.DataFrame(
            {
                "net": np.repeat([member.net for member in self.members], widths),
                "layer": np.repeat([member.layer for member in self.members], widths),
                "unit": np.concatenate([np.arange(width) for width in widths]),
                "unit_name": np.concatenate([self._names(m, w) for m, w in zip(self.members, widths, strict=True)]),
                "mean": mean(m),
                "std": np.sqrt(variance(m)),
                "active_fraction": m.active / m.count,
                "is_dead": self.singles.dead(),
                "is_rare": self.singles.rare(),
                "samples": self.samples,
            }
        )


def _best_of_layers(group: Group, a: Sequence[int], b: Sequence[int]) -> tuple[np.ndarray, Floats]:
    """Of all units of members ``a`` the best partner among the stacked units of ``b``, -1 for none, and the value."""
    columns, values = [], []
    starts = [0, *np.cumsum(group.sums.widths[list(b)])[:-1].tolist()]
    for row in a:
        best, value = np.full(int(group.sums.widths[row]), -1), np.full(int(group.sums.widths[row]), np.nan)
        for column, start in zip(b, starts, strict=True):
            found = semi_matching(group.correlation(row, column))
            better = (found.columns >= 0) & ~(found.values <= value)
            best[better], value[better] = found.columns[better] + start, found.values[better]
        columns.append(best)
        values.append(value)
    return np.concatenate(columns), np.concatenate(values)
