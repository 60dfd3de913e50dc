"""Which units come back in every network trained anew.

Everything is read off the partners of every ordered pair of networks (`raycv.analysis.partners`). A unit has a
*partner* in another network where its best correlation there is more than chance; it *recurs* if it has one in all
others. A *group* holds one unit of every network, each of them the best unit of its network for each of the others: the
same unit in every network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """Which units have partners in other networks trained anew, from `raycv.analysis.recurrence.recurrence`.

    Attributes
    ----------
    pairs : mapping of (int, int) to Partners
        For each ordered pair (n, m) of different networks the partners in m of n's units.
    false_discoveries : float, default 0.05
        The rate at which a partner counts.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation
    >>> from raycv.analysis.recurrence import recurrence
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((500, 20))
    >>> nets = [x + 0.5 * rng.standard_normal((500, 20)) for _ in range(3)]
    >>> found = recurrence({(n, m): correlation(nets[n], nets[m]) for n in range(3) for m in range(n, 3)})
    >>> found.partners(0).tolist() == [2] * 20, found.groups()[:2].tolist()
    (True, [[0, 0, 0], [1, 1, 1]])
    """

    pairs: Mapping[tuple[int, int], Partners]
    false_discoveries: float = FALSE_DISCOVERIES

    @property
    def networks(self) -> list[int]:
        """The numbers of the networks, rising."""
        return sorted({n for n, _ in self.pairs})

    def live(self, n: int) -> NDArray[np.bool_]:
        """Say which units are not dead.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        ndarray of shape (S_n,), bool
            False for dead units.
        """
        live: NDArray[np.bool_] = np.any([of_pair.columns >= 0 for of_pair in self._of(n)], axis=0)
        return live

    def partners(self, n: int) -> NDArray[np.int64]:
        """Count in how many of the other networks each unit has a partner beyond chance.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        ndarray of shape (S_n,), int64
            0 for dead units.
        """
        found: NDArray[np.int64] = np.sum([of_pair.found(self.false_discoveries) for of_pair in self._of(n)], axis=0)
        return found

    def mutual(self, n: int) -> NDArray[np.int64]:
        """Count in how many of the other networks the best unit for it has it for its best in turn.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        ndarray of shape (S_n,), int64
            0 for dead units.
        """
        found: NDArray[np.int64] = np.sum([self._mutual(n, m) for m in self.networks if m != n], axis=0)
        return found

    def excess(self, n: int) -> Floats:
        """Average the excess over the rotated null over the other networks.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        ndarray of shape (S_n,)
            NaN for dead units.
        """
        mean: Floats = np.mean([of_pair.excess for of_pair in self._of(n)], axis=0)
        return mean

    def p_values(self, n: int) -> Floats:
        """Test that a unit has a partner in *all* others: by the largest of its p-values (Berger, 1982).

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        ndarray of shape (S_n,)
            NaN for dead units.
        """
        largest: Floats = np.max([of_pair.p_values for of_pair in self._of(n)], axis=0)
        return largest

    def q_values(self, n: int) -> Floats:
        """Compute the false discovery rates that belong to ``p_values``.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        ndarray of shape (S_n,)
            NaN for dead units.
        """
        return q_values(self.p_values(n))

    def groups(self) -> NDArray[np.int64]:
        """Find groups of one unit of every network, each the best unit of its network for each of the others.

        Returns
        -------
        ndarray of shape (G, M), int64
            One unit number per network in the order of ``networks``, rising in the first.
        """
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
        """Name the row of ``groups`` that each unit is in.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        ndarray of shape (S_n,), int64
            -1 for units in no group.
        """
        groups = self.groups()
        numbers = np.full(len(self.live(n)), -1, dtype=np.int64)
        numbers[groups[:, self.networks.index(n)]] = np.arange(len(groups))
        return numbers

    def without(self, n: int) -> Recurrence:
        """Leave one network out.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        Recurrence
            Among the others alone.
        """
        return Recurrence({pair: found for pair, found in self.pairs.items() if n not in pair}, self.false_discoveries)

    def of_units(self, n: int) -> dict[str, NDArray[Any]]:
        """Give all of the above at once.

        Parameters
        ----------
        n : int
            A network.

        Returns
        -------
        dict of str to ndarray of shape (S_n,)
            The columns of a run's table *recurrence*, from ``unit`` on.

        Examples
        --------
        >>> import numpy as np
        >>> from raycv.analysis import correlation
        >>> from raycv.analysis.recurrence import recurrence
        >>> x = np.random.default_rng(0).standard_normal((500, 20))
        >>> within = correlation(x, x)
        >>> found = recurrence({(0, 0): within, (0, 1): within, (1, 1): within}).of_units(0)
        >>> found["partners"].sum(), found["recurring_group"][:3]
        (np.int64(20), array([0, 1, 2]))
        """
        return {
            "unit": np.arange(len(self.live(n))),
            "partners": self.partners(n),
            "mutual": self.mutual(n),
            "excess": self.excess(n),
            "p_value": self.p_values(n),
            "q_value": self.q_values(n),
            "recurring_group": self.group(n),
        }

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
    """Find the partners of every ordered pair of networks.

    Parameters
    ----------
    correlations : mapping of (int, int) to ndarray of shape (S_n, S_m)
        Of all pairs n <= m of two or more networks, NaN in the rows and columns of dead units.
    deviations : mapping of int to ndarray of shape (S_n,), optional
        Standard deviations of each network's units, by which these weigh in mixtures, too (`rotated`).
    chance : mapping of (int, int) to sequence of Draws, optional
        Of each ordered pair, as in `raycv.analysis.partners.partners`.
    false_discoveries : float, default 0.05
        The rate at which a partner counts.
    rotations : int, optional
        As in `rotated`.
    seed : int, default 0
        All pairs share their rotations, which depend on widths alone.
    device : torch.device or str, optional
        As in `rotated`.

    Returns
    -------
    Recurrence
        Of all ordered pairs.

    Raises
    ------
    ValueError
        For fewer than two networks, and as `rotated`.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, partner_share
    >>> from raycv.analysis.recurrence import recurrence
    >>> a, b = np.random.default_rng(0).standard_normal((2, 500, 40))          # nothing in common
    >>> found = recurrence({(0, 0): correlation(a, a), (0, 1): correlation(a, b), (1, 1): correlation(b, b)})
    >>> found.networks, partner_share(found) < 0.1
    ([0, 1], True)
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
    """Compute the fraction of all networks' live units that have a partner beyond chance in all other networks.

    Parameters
    ----------
    found : Recurrence
        Of two or more networks.

    Returns
    -------
    float
        From 0 to 1, lower among more networks; NaN where all units are dead.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, recurring_share
    >>> from raycv.analysis.recurrence import recurrence
    >>> x = np.random.default_rng(0).standard_normal((500, 20))
    >>> within = correlation(x, x)
    >>> recurring_share(recurrence({(0, 0): within, (0, 1): within, (1, 1): within}))
    1.0
    """
    others = len(found.networks) - 1
    return _share(found, lambda n: found.partners(n) == others)


def grouped_share(found: Recurrence) -> float:
    """Compute the fraction of all networks' live units that are in a group (`Recurrence.groups`).

    Parameters
    ----------
    found : Recurrence
        Of two or more networks.

    Returns
    -------
    float
        From 0 to 1, lower among more networks; NaN where all units are dead.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, grouped_share
    >>> from raycv.analysis.recurrence import recurrence
    >>> x = np.random.default_rng(0).standard_normal((500, 20))
    >>> within = correlation(x, x)
    >>> grouped_share(recurrence({(0, 0): within, (0, 1): within, (1, 1): within}))
    1.0
    """
    return _share(found, lambda n: found.group(n) >= 0)


def partner_share(found: Recurrence) -> float:
    """Compute the fraction of live units with a partner beyond chance, mean over ordered pairs of networks.

    Unlike `recurring_share` and `grouped_share` it does not fall with the number of networks.

    Parameters
    ----------
    found : Recurrence
        Of two or more networks.

    Returns
    -------
    float
        From 0 to 1; NaN where a network has no live unit.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import correlation, partner_share
    >>> from raycv.analysis.recurrence import recurrence
    >>> x = np.random.default_rng(0).standard_normal((500, 20))
    >>> within = correlation(x, x)
    >>> partner_share(recurrence({(0, 0): within, (0, 1): within, (1, 1): within}))
    1.0
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
