"""Joint moments of any activations, added batch by batch: `raycv.Moments`."""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from raycv.analysis.splitmix import GOLDEN, mixed
from raycv.data.recorded import in_full
from raycv.run.folds import FOLDS, folds_of
from raycv.statistics.accumulator import Accumulator
from raycv.statistics.folds import LayerStatistics, correlation_of
from raycv.statistics.moments import JointMoments as Sums
from raycv.statistics.moments import merge, shifted
from raycv.statistics.sums import sums_of

LARGEST = 1e150  # of activations in float64


class Moments:
    """Means, variances and correlations of the units of any number of *members*, from one pass over their activations.

    A member is a layer of a network, or anything else that gives numbers for the same samples. The samples themselves
    are not kept, so that neither their number nor the order of the batches matters. What was added in different
    processes can be merged, and several threads may add batches. Sums are kept per fold of the samples, chosen by a
    hash of their ids: that gives intervals (`raycv.statistics.folds`). All positions of a sample are in one fold.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((1000, 3))
    >>> moments = Moments()
    >>> for start in range(0, 1000, 100):
    ...     batch = x[start : start + 100]
    ...     moments.update(range(start, start + 100), a=batch, b=batch[:, ::-1])
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
        """Those of members whose sums are there already, as a run has them."""
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
        """Add a batch: for every member the activations (n, S) or (n, S, ...) of the same n samples, in the same order.

        Activations are arrays or tensors with their units on the second axis; what follows are positions, each a sample
        of its own, as many in every member. ``ids`` (n,) integers or strings that name the samples; None numbers them
        in the order in which they come. All batches have the same members. Where activations are float64, products are
        too; they are float32 otherwise, added in float64, and correlations are within 5e-6 of float64.

        Raises ValueError for members, shapes or ids that do not fit, and for numbers that are not finite; then nothing
        is added.
        """
        tables = {name: _samples(name, values) for name, values in activations.items()}
        count = _same(tables, "samples")
        positions = _same({name: values[0] for name, values in tables.items() if len(values)}, "positions")
        if count:
            with self._lock:
                self._add(ids, tables, count, positions)

    def _add(self, ids: ArrayLike | range | None, tables: dict[str, torch.Tensor], count: int, positions: int) -> None:
        self._check(tables)
        widest = max(table.shape[2] for table in tables.values())
        number = folds_of(widest)
        finer = _folds_of(ids, count, self.samples // max(1, positions))
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
        pilot = np.concatenate([_pilot(table) for table in tables.values()])
        self._folds = [Accumulator(widths, pilot, torch.device("cpu")) for _ in range(folds)]
        for fold in self._folds:  # they are used one after the other
            fold.shifted, fold.products = self._folds[0].shifted, self._folds[0].products

    def _check(self, tables: dict[str, torch.Tensor]) -> None:
        found = {name: table.shape[2] for name, table in tables.items()}
        expected = dict(zip(self.names, self.widths, strict=True))
        if expected and list(found.items()) != list(expected.items()):
            raise ValueError(f"these moments are of {_named(expected)}, found {_named(found)}")
        for name, table in tables.items():
            lowest, highest = torch.aminmax(table)
            if not torch.isfinite(lowest) or not torch.isfinite(highest):
                bad = int((~torch.isfinite(table)).flatten(1).any(1).nonzero()[0, 0])
                sample = self.samples // table.shape[1] + bad
                raise ValueError(f"the activations of {name!r} are not all finite numbers, first in sample {sample:,}")
            largest = max(float(highest), -float(lowest))
            if largest > LARGEST:
                raise ValueError(
                    f"the activations of {name!r} go up to {largest:.0e}, and numbers above {LARGEST:.0e} have no "
                    "squares; divide them by a constant"
                )

    def merge(self, other: Moments) -> None:
        """Add all that ``other`` has of the same members, and of other samples.

        Raises ValueError where the members differ.
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
            raise ValueError(f"these moments are of {_named(mine)}, those to be merged of {_named(theirs)}")
        pilot = self._own_pilot
        pairs = zip(self._folds, other._folds, strict=True)
        self._folds = [Accumulator.going_on_from(merge(a.moments(), shifted(b.moments(), pilot))) for a, b in pairs]
        for place, sums in other._finer.items():
            self._add_finer(place, shifted(sums, pilot))

    @property
    def statistics(self) -> LayerStatistics:
        """The sums fold by fold, without empty folds, as the functions of `raycv.analysis` take them.

        Raises ValueError where there are fewer than two samples.
        """
        with self._lock:
            if self.samples < 2:
                raise ValueError(f"moments need two or more samples, found {self.samples}")
            finer = tuple(sums for _, sums in sorted(self._finer.items()))
            return LayerStatistics(tuple(fold.moments() for fold in self._folds if fold.count), finer)

    def correlation(self, a: str, b: str) -> np.ndarray:
        """Pearson correlations (S_a, S_b) of the units of two members, float64; NaN for constant units.

        Raises ValueError for a name that is no member, and for fewer than two samples.
        """
        for name in (a, b):
            if name not in self.names:
                raise ValueError(f"there is no member {name!r}; there are {', '.join(self.names) or 'none yet'}")
        total: Sums = self.statistics.together
        constant = total.minimum == total.maximum
        return correlation_of(total, constant, self.names.index(a), self.names.index(b))


def _pilot(table: torch.Tensor) -> np.ndarray:
    """(S,): the means of (n, positions, S), representable in float32 where the table is; of constants themselves."""
    lowest, highest = table.amin((0, 1)), table.amax((0, 1))
    means = torch.where(lowest == highest, lowest.double(), (table.double() / table[..., 0].numel()).sum((0, 1)))
    return (means if table.dtype == torch.float64 else means.float().double()).numpy()


@contextmanager
def _both(one: Moments, other: Moments) -> Iterator[None]:
    """Nobody adds to either; in one order, so that two who merge into each other do not wait for ever."""
    first, second = sorted((one, other), key=id)
    with first._lock, second._lock:
        yield


def _samples(name: str, values: Any) -> torch.Tensor:
    """Activations (n, S, ...) as (n, positions, S), float64 where they need it and float32 otherwise."""
    if isinstance(values, torch.Tensor):
        tensor = values.detach().cpu()
        tensor = tensor.double() if tensor.dtype in (torch.int32, torch.int64) else tensor
    else:
        array = np.ascontiguousarray(values)
        tensor = torch.as_tensor(in_full(repr(name), array) if array.dtype.kind in "iuf" else array)
    if tensor.ndim < 2:
        raise ValueError(f"activations have shape (samples, units, ...), {name!r} has {tuple(tensor.shape)}")
    if tensor.is_complex() or (not tensor.dtype.is_floating_point and tensor.dtype == torch.bool):
        raise ValueError(f"activations are real numbers, {name!r} has {tensor.dtype}")
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    return tensor.reshape(*tensor.shape[:2], math.prod(tensor.shape[2:])).transpose(1, 2)


def _same(tables: dict[str, torch.Tensor], what: str) -> int:
    """The common length of the first axes. Raises ValueError where they differ."""
    lengths = {name: len(table) for name, table in tables.items()}
    if not tables:
        if what == "samples":
            raise ValueError("there are no activations; give those of one member or more by name")
        return 0
    if len(set(lengths.values())) > 1:
        few, many = (pick(lengths, key=lengths.__getitem__) for pick in (min, max))
        raise ValueError(
            f"all members must have the same {what}; {few!r} has {lengths[few]:,} and {many!r} {lengths[many]:,}"
        )
    return next(iter(lengths.values()))


def _folds_of(ids: ArrayLike | range | None, count: int, before: int) -> np.ndarray:
    """(n,): the fold of each sample, one of eight, by a hash of its id; ``before``: how many samples came earlier."""
    names = np.arange(before, before + count) if ids is None else np.asarray(ids)
    if names.shape != (count,):
        raise ValueError(f"there are {count:,} samples and ids of shape {names.shape}; give one id for each sample")
    if names.dtype.kind not in "iu":
        names = np.array([zlib.crc32(str(name).encode()) for name in names], dtype=np.uint64)
    return np.asarray(mixed(names.astype(np.uint64) * GOLDEN) % np.uint64(FOLDS)).astype(np.int64)


def _named(widths: dict[str, int]) -> str:
    return ", ".join(f"{name} ({width} units)" for name, width in widths.items())
