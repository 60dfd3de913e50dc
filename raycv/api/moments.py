"""Joint moments of any activations, added batch by batch: `raycv.Moments`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from raycv.api.tables import Tables, check_members, check_numbers, fold_of_each, named, pilot_of, tables_of
from raycv.statistics.accumulator import Accumulator
from raycv.statistics.folding import FOLDS, folds_of
from raycv.statistics.folds import LayerStatistics, correlation_of
from raycv.statistics.moments import JointMoments as Sums
from raycv.statistics.moments import merge, shifted
from raycv.statistics.sums import sums_of


class Moments:
    """Means, variances and correlations of the units of any number of *members*, from one pass over their activations.

    A member is a layer of a network, or anything else that gives numbers for the same samples. The samples themselves
    are not kept, so that neither their number nor the order of the batches matters. What was added in different
    processes can be merged, and several threads may add batches. Sums are kept per fold of the samples, chosen by a
    hash of their ids: that gives intervals. All positions of a sample are in one fold.

    Attributes
    ----------
    names : list of str
        The members, in the order in which the first batch named them.

    Examples
    --------
    >>> import numpy as np, raycv
    >>> x = np.random.default_rng(0).standard_normal((1000, 3))
    >>> moments = raycv.Moments()
    >>> for start in range(0, 1000, 100):
    ...     batch = x[start : start + 100]
    ...     moments.update(range(start, start + 100), a=batch, b=batch[:, ::-1])
    >>> moments
    Moments of 1,000 samples: a (3 units), b (3 units)
    >>> moments.correlation("a", "b").round(1).tolist()[0][2]
    1.0
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._folds: list[Accumulator] = []
        self._finer: dict[int, Sums] = {}  # by fold of eight, where products are in fewer
        self._float64 = False
        self._lock = threading.RLock()  # batches may come from several threads

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock())

    @classmethod
    def of(cls, names: Sequence[str], statistics: LayerStatistics) -> Moments:
        """Go on from sums that are there already, as a run has them.

        Parameters
        ----------
        names : sequence of str
            The members, in the order of the sums.
        statistics : LayerStatistics
            What ``Moments.statistics`` and `raycv.Run.moments` give.

        Returns
        -------
        Moments
            Further batches may be added.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> moments = raycv.Moments()
        >>> moments.update(None, a=np.eye(8), b=np.eye(8))
        >>> raycv.Moments.of(["left", "right"], moments.statistics)
        Moments of 8 samples: left (8 units), right (8 units)
        """
        made = cls()
        made.names, made._folds = list(names), [Accumulator.going_on_from(fold) for fold in statistics.folds]
        made._finer = dict(enumerate(statistics.finer))
        return made

    def __repr__(self) -> str:
        widths = ", ".join(f"{name} ({width} units)" for name, width in zip(self.names, self.widths, strict=True))
        return f"Moments of {self.samples:,} samples: {widths}" if self.names else "Moments of nothing yet"

    @property
    def widths(self) -> list[int]:
        """The units of each member."""
        return self._folds[0].widths if self._folds else []

    @property
    def samples(self) -> int:
        """How many samples were added; each position of an image is one."""
        return sum(fold.count for fold in self._folds)

    def update(self, ids: ArrayLike | range | None, **activations: Any) -> None:
        """Add a batch.

        Where activations are float64, products are too; they are float32 otherwise, added in float64, and correlations
        are within 5e-6 of float64.

        Parameters
        ----------
        ids : array_like of shape (n,), or None
            Integers or strings that name the samples; None numbers them in the order in which they come.
        activations : array or tensor of shape (n, S) or (n, S, ...)
            One for every member, by name, of the same n samples in the same order. Units stand on the second axis; what
            follows are positions, each a sample of its own, as many in every member. All batches have the same members.

        Raises
        ------
        ValueError
            For members, shapes or ids that do not fit, and for numbers that are not finite; then nothing is added.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> moments = raycv.Moments()
        >>> moments.update(["first.png", "second.png"], a=np.eye(2), b=np.ones((2, 5)))
        >>> moments.samples, moments.widths
        (2, [2, 5])
        """
        tables, count, positions = tables_of(activations)
        if count:
            with self._lock:
                self._add(ids, tables, count, positions)

    def _add(self, ids: ArrayLike | range | None, tables: dict[str, torch.Tensor], count: int, positions: int) -> None:
        self._check(tables)
        number = folds_of([table.shape[2] for table in tables.values()])
        finer = fold_of_each(ids, count, self.samples // max(1, positions))
        if not self.names:
            self._begin(tables, number)

        def rows(inside: np.ndarray) -> list[torch.Tensor]:
            which = inside if len(inside) < count else slice(None)
            return [table[which].reshape(len(inside) * positions, -1).contiguous() for table in tables.values()]

        for place, fold in enumerate(self._folds):
            inside = np.flatnonzero(finer % number == place)
            if len(inside):
                (fold.add_in_float64 if self._float64 else fold.add)(rows(inside))
        for place in np.unique(finer).tolist() if number < FOLDS else ():
            self._add_finer(place, sums_of(rows(np.flatnonzero(finer == place)), self._own_pilot))

    @property
    def _own_pilot(self) -> np.ndarray:
        return self._folds[0].pilot.cpu().numpy()

    def _add_finer(self, place: int, sums: Sums) -> None:
        self._finer[place] = merge(self._finer[place], sums) if place in self._finer else sums

    def _begin(self, tables: dict[str, torch.Tensor], folds: int) -> None:
        self.names = list(tables)
        self._float64 = any(table.dtype == torch.float64 for table in tables.values())
        widths = [table.shape[2] for table in tables.values()]
        pilot = np.concatenate([pilot_of(table) for table in tables.values()])
        self._folds = [Accumulator(widths, pilot, torch.device("cpu")) for _ in range(folds)]
        for fold in self._folds:  # they are used one after the other
            fold.shifted, fold.products = self._folds[0].shifted, self._folds[0].products

    def _check(self, tables: Tables) -> None:
        check_members(tables, dict(zip(self.names, self.widths, strict=True)))
        check_numbers(tables, self.samples)

    def merge(self, other: Moments) -> None:
        """Add all that other moments have of the same members, and of other samples.

        Parameters
        ----------
        other : Moments
            Stays as it is. Samples that both have are counted twice.

        Raises
        ------
        ValueError
            Where the members differ.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> first, second = raycv.Moments(), raycv.Moments()
        >>> first.update(range(4), a=np.eye(4))
        >>> second.update(range(4, 8), a=np.ones((4, 4)))
        >>> first.merge(second)
        >>> first.samples
        8
        """
        with _both(self, other):
            self._merge(other)

    def _merge(self, other: Moments) -> None:
        if not other.names:
            return
        if not self.names:
            self.names, self._float64 = list(other.names), other._float64
            self._folds = [Accumulator.going_on_from(fold.moments()) for fold in other._folds]
            self._finer = dict(other._finer)
            return
        mine, theirs = (dict(zip(m.names, m.widths, strict=True)) for m in (self, other))
        if list(mine.items()) != list(theirs.items()):
            raise ValueError(f"these moments are of {named(mine)}, those to be merged of {named(theirs)}")
        pilot = self._own_pilot
        pairs = zip(self._folds, other._folds, strict=True)
        self._folds = [Accumulator.going_on_from(merge(a.moments(), shifted(b.moments(), pilot))) for a, b in pairs]
        for place, sums in other._finer.items():
            self._add_finer(place, shifted(sums, pilot))

    @property
    def statistics(self) -> LayerStatistics:
        """The sums fold by fold, without empty folds, as `Moments.of` takes them.

        Raises
        ------
        ValueError
            Where there are fewer than two samples.
        """
        with self._lock:
            if self.samples < 2:
                raise ValueError(f"moments need two or more samples, found {self.samples}")
            finer = tuple(sums for _, sums in sorted(self._finer.items()))
            return LayerStatistics(tuple(fold.moments() for fold in self._folds if fold.count), finer)

    def correlation(self, a: str, b: str) -> np.ndarray:
        """Correlate the units of two members (Pearson).

        Parameters
        ----------
        a, b : str
            Names of members; both may be the same.

        Returns
        -------
        ndarray of shape (S_a, S_b), float64
            NaN for constant units.

        Raises
        ------
        ValueError
            For a name that is no member, and for fewer than two samples.

        Examples
        --------
        >>> import numpy as np, raycv
        >>> moments = raycv.Moments()
        >>> moments.update(None, a=np.array([[0.0, 1], [1, 3], [2, 5]]), b=np.array([[3.0], [2], [1]]))
        >>> moments.correlation("a", "b").round(6).tolist()
        [[-1.0], [-1.0]]
        """
        for name in (a, b):
            if name not in self.names:
                raise ValueError(f"there is no member {name!r}; there are {', '.join(self.names) or 'none yet'}")
        total: Sums = self.statistics.together
        constant = total.minimum == total.maximum
        return correlation_of(total, constant, self.names.index(a), self.names.index(b))


@contextmanager
def _both(one: Moments, other: Moments) -> Iterator[None]:
    """Nobody adds to either; in one order, so that two who merge into each other do not wait for ever."""
    first, second = sorted((one, other), key=id)
    with first._lock, second._lock:
        yield
