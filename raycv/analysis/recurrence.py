"""Which units come back in every network trained anew.

Everything is read off the partners of every ordered pair of networks (`raycv.analysis.partners`). A unit has a
*partner* in another network where its best correlation there is more than chance; it *recurs* if it has one in all
others. A *group* holds one unit of every network, each of them the best unit of its network for each of the others: the
same unit in every network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raycv.analysis.arrays import Floats
from raycv.analysis.nulls import scaled
from raycv.analysis.partners import Partners, partners
from raycv.analysis.rotations import Rotations
from raycv.analysis.significance import FALSE_DISCOVERIES, Draws, estimated_share, q_values
from raycv.analysis.similarity import Interval, jackknife

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Recurrence:
    """``pairs``: for each ordered pair (n, m) of different networks the partners in m of n's units.

    Every per-unit result is (S_n,) for a network ``n``. ``false_discoveries``: the rate at which a partner counts.
    """

    pairs: Mapping[tuple[int, int], Partners]
    false_discoveries: float = FALSE_DISCOVERIES

    @property
    def networks(self) -> list[int]:
        """The numbers of the networks, rising."""
        return sorted({n for n, _ in self.pairs})

    def live(self, n: int) -> NDArray[np.bool_]:
        """The units that are not dead."""
        live: NDArray[np.bool_] = np.any([of_pair.columns >= 0 for of_pair in self._of(n)], axis=0)
        return live

    def partners(self, n: int) -> NDArray[np.int64]:
        """In how many of the other networks a unit has a partner beyond chance; 0 for dead units."""
        found: NDArray[np.int64] = np.sum([of_pair.found(self.false_discoveries) for of_pair in self._of(n)], axis=0)
        return found

    def mutual(self, n: int) -> NDArray[np.int64]:
        """In how many of the other networks the best unit for it has it for its best in turn."""
        found: NDArray[np.int64] = np.sum([self._mutual(n, m) for m in self.networks if m != n], axis=0)
        return found

    def excess(self, n: int) -> Floats:
        """The mean over the other networks of the excess over the rotated null; NaN for dead units."""
        mean: Floats = np.mean([of_pair.excess for of_pair in self._of(n)], axis=0)
        return mean

    def p_values(self, n: int) -> Floats:
        """That a unit has a partner in *all* others: the largest of its p-values (Berger, 1982); NaN for dead units."""
        largest: Floats = np.max([of_pair.p_values for of_pair in self._of(n)], axis=0)
        return largest

    def q_values(self, n: int) -> Floats:
        """The false discovery rates that belong to ``p_values``."""
        return q_values(self.p_values(n))

    def groups(self) -> NDArray[np.int64]:
        """(G, M): the groups, one unit number per network in the order of ``networks``, rising in the first."""
        first, *others = self.networks
        columns = [self.pairs[first, m].columns for m in others]
        units = np.stack([np.arange(len(columns[0])), *columns], axis=1)
        units = units[(units >= 0).all(1)]
        for i, n in enumerate(self.networks):
            for j, m in enumerate(self.networks):
                if n != m:
                    units = units[self.pairs[n, m].columns[units[:, i]] == units[:, j]]
        return units

    def group(self, n: int) -> NDArray[np.int64]:
        """The row of ``groups`` that a unit is in; -1 for none."""
        groups = self.groups()
        numbers = np.full(len(self.live(n)), -1, dtype=np.int64)
        numbers[groups[:, self.networks.index(n)]] = np.arange(len(groups))
        return numbers

    def without(self, n: int) -> Recurrence:
        """Among the other networks alone."""
        return Recurrence({pair: found for pair, found in self.pairs.items() if n not in pair}, self.false_discoveries)

    def _of(self, n: int) -> list[Partners]:
        return [self.pairs[n, m] for m in self.networks if m != n]

    def _mutual(self, n: int, m: int) -> NDArray[np.bool_]:
        there, back = self.pairs[n, m].columns, self.pairs[m, n].columns
        return np.asarray((there >= 0) & (back[there] == np.arange(len(there))))


def recurrence(
    correlations: Mapping[tuple[int, int], Floats],
    *,
    deviations: Mapping[int, Floats] | None = None,
    chance: Mapping[tuple[int, int], Sequence[Draws]] | None = None,
    false_discoveries: float = FALSE_DISCOVERIES,
    rotations: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Recurrence:
    """From the correlations (S_n, S_m) of all pairs n <= m of two or more networks, as `folds.correlations` gives them.

    ``deviations``: (S_n,) of each network's units, by which these weigh in mixtures, too (`raycv.analysis.nulls`). All
    pairs share their rotations, which depend on widths alone; each ordered one has its own draws of ``chance``, if any.
    The other settings and what is raised are those of `raycv.analysis.partners.partners`. Raises ValueError for fewer
    than two networks.
    """
    networks = sorted({n for n, _ in correlations})
    if len(networks) < 2:
        raise ValueError(f"recurrence needs two or more networks, found {len(networks)}")
    pairs, shared = {}, Rotations(seed)
    for n in networks:
        for m in networks:
            if n != m:
                cross = correlations[n, m] if n < m else correlations[m, n].T
                drawn = chance.get((n, m), ()) if chance else ()
                within = correlations[m, m] if deviations is None else scaled(correlations[m, m], deviations[m])
                pairs[n, m] = partners(cross, within, chance=drawn, rotations=rotations, seed=shared, device=device)
    return Recurrence(pairs, false_discoveries)


def recurring_share(found: Recurrence) -> float:
    """The fraction of all networks' live units that have a partner beyond chance in all other networks."""
    others = len(found.networks) - 1
    return _share(found, lambda n: found.partners(n) == others)


def grouped_share(found: Recurrence) -> float:
    """The fraction of all networks' live units that are in a group."""
    return _share(found, lambda n: found.group(n) >= 0)


def partner_share(found: Recurrence) -> float:
    """The fraction of live units with a partner beyond chance, mean over ordered pairs of networks.

    Unlike the other two it does not fall with the number of networks.
    """
    fractions = [
        _fraction(of_pair.found(found.false_discoveries), of_pair.columns >= 0) for of_pair in found.pairs.values()
    ]
    return float(np.mean(fractions))


def estimated_partner_share(found: Recurrence) -> float:
    """The fraction of live units estimated to have a partner, named or not, mean over ordered pairs; at least 0."""
    return max(0.0, float(np.mean([estimated_share(of_pair.p_values) for of_pair in found.pairs.values()])))


def over_networks(found: Recurrence, share: Callable[[Recurrence], float], *, is_share: bool = True) -> Interval:
    """95% around ``share`` by leaving out one network at a time; NaN for fewer than three networks.

    It covers the choice of networks, with few degrees of freedom: three for four networks. A share that must hold in
    all networks is higher among fewer; only the spread of the replicates is used.
    """
    networks = found.networks
    replicates = [share(found.without(n)) for n in networks] if len(networks) > 2 else []
    units = int(np.mean([found.live(n).sum() for n in networks])) if is_share else None
    return jackknife(share(found), replicates, units=units or None)


def _share(found: Recurrence, which: Callable[[int], NDArray[np.bool_]]) -> float:
    live = np.concatenate([found.live(n) for n in found.networks])
    return _fraction(np.concatenate([which(n) for n in found.networks]), live)


def _fraction(which: NDArray[np.bool_], live: NDArray[np.bool_]) -> float:
    return float(which[live].mean()) if live.any() else float("nan")
