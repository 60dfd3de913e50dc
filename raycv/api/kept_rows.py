"""The samples of layers that are compared with each other, kept themselves; see `raycv.api.kept`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial, reduce
from itertools import groupby

import numpy as np
import torch

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.squares import Layer, own_squares, squares_between
from raycv.api.kept import LEAST_SAMPLES, Side, Squares, across_folds, nowhere, of_two, songs
from raycv.api.tables import pilot_of
from raycv.statistics.folding import folds_of
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.moments import JointMoments, mean, merge, offsets, variance
from raycv.statistics.sums import sums_of


class KeptRows:
    """The samples themselves: ``rows``, by member (n, S), float32 or float64, which are emptied meanwhile.

    ``finer`` (n,): the fold of each sample, of eight. ``are_independent``: whether each is an image of its own.
    """

    def __init__(self, rows: list[torch.Tensor], finer: np.ndarray, *, are_independent: bool) -> None:
        widths = [values.shape[1] for values in rows]
        number = folds_of(widths)
        order = np.lexsort((finer, finer % number))
        self._rows: list[torch.Tensor] = []
        while rows:  # one at a time, so that they are not there twice
            self._rows.append(rows.pop(0)[torch.from_numpy(order)])
        self._widths, self._are_independent, self._finer = widths, are_independent, finer[order]
        self._pilots = [pilot_of(values[:, None]) for values in self._rows]
        pilot, cuts = np.concatenate(self._pilots), _cuts(finer[order])
        sums = {fold: sums_of([values[cut] for values in self._rows], pilot) for fold, cut in cuts.items()}
        self.singles = LayerStatistics(tuple(of_fold for _, of_fold in sorted(sums.items())))
        self._cuts = _cuts(finer[order] % number)
        self.folds = [reduce(merge, [sums[fold] for fold in cuts if fold % number == place]) for place in self._cuts]

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is kept, for storage."""
        rows = {f"{n}": values.numpy() for n, values in enumerate(self._rows)}
        return rows | {"finer": self._finer, "are_independent": np.array(self._are_independent)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], members: int) -> KeptRows:
        """What ``arrays`` gave of so many members."""
        rows = [torch.from_numpy(arrays[f"{n}"]) for n in range(members)]
        return cls(rows, arrays["finer"], are_independent=bool(arrays["are_independent"]))

    def products(self, a: int, b: int) -> list[Floats]:
        return [self._product(cut, a, b) for cut in self._cuts.values()]

    def pair(self, a: int, b: int) -> LayerStatistics:
        by_fold = zip(self.folds, self._cuts.values(), strict=True)
        return LayerStatistics(tuple(of_two(sums, a, b, partial(self._product, cut)) for sums, cut in by_fold))

    def squares(self, sides: Sequence[Side]) -> Squares:
        return self._squares(sides, self._centred, int(self._all.count))

    def unbiased_squares(self, sides: Sequence[Side]) -> Squares:
        count = int(self._all.count)
        if self._are_independent and count >= LEAST_SAMPLES:
            norms = np.stack([count * np.square(self._centred(n)).sum(1) for n in range(len(self._widths))])
            return songs(self.squares(sides), norms @ norms.T, self._traces, count)
        cuts = [cut for cut in self._cuts.values() if cut.stop - cut.start > 1]
        if len(cuts) < 2:
            return nowhere(len(self._widths))
        each = [self._squares(sides, partial(self._of_fold, cut=cut), cut.stop - cut.start) for cut in cuts]
        samples = sum(cut.stop - cut.start for cut in cuts)
        together = self._squares(sides, lambda n: np.vstack([self._of_fold(n, cut) for cut in cuts]), samples)
        return across_folds(together, each)

    @cached_property
    def _all(self) -> JointMoments:
        return self.singles.all

    @cached_property
    def _traces(self) -> Floats:
        return np.add.reduceat(variance(self._all), offsets(self._widths)[:-1])

    def _product(self, cut: slice, a: int, b: int) -> Floats:
        first, second = (self._rows[n][cut].double().numpy() - self._pilots[n] for n in (a, b))
        return np.asarray(first.T @ second)

    def _centred(self, n: int) -> Floats:
        """(n, S): activations of which products are covariances."""
        bounds = offsets(self._widths)
        units = slice(bounds[n], bounds[n + 1])
        found: Floats = self._rows[n].double().numpy() - mean(self._all)[units]
        found[:, self._all.minimum[units] == self._all.maximum[units]] = 0
        found /= np.sqrt(self._all.count)
        return found

    def _of_fold(self, n: int, cut: slice) -> Floats:
        """(n, S): those of a fold, of which products are unbiased covariances."""
        found: Floats = self._rows[n][cut].double().numpy()
        centred: Floats = (found - found.mean(0)) / np.sqrt(len(found) - 1)
        return centred

    def _squares(self, sides: Sequence[Side], made: Callable[[int], Floats], samples: int) -> Squares:
        layers: list[Layer] = [partial(made, n) for n in range(len(self._widths))]
        between = np.full((len(layers), len(layers)), np.nan)
        for a, b in sides:
            widths = [self._widths[n] for n in a], [self._widths[n] for n in b]
            of_sides = [layers[n] for n in a], [layers[n] for n in b]
            found = squares_between(*of_sides, widths, samples)
            between[np.ix_(a, b)], between[np.ix_(b, a)] = found, found.T
        return Squares(own_squares(layers), between)


def _cuts(sorted_folds: np.ndarray) -> dict[int, slice]:
    """Where each fold's samples stand, which are together."""
    cuts, start = {}, 0
    for fold, of_fold in groupby(sorted_folds.tolist()):
        end = start + len(list(of_fold))
        cuts[fold] = slice(start, end)
        start = end
    return cuts
