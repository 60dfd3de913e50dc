"""What is kept of the samples of layers that are compared with each other: enough to compare any two of them.

As long as samples are fewer than units they take less memory than products of units, and all that is asked for later
follows from them: then they are kept themselves, and products of two layers are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import groupby
from typing import Protocol

import numpy as np
import torch

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.norms import NormSums
from raycv.analysis.measures.squares import Layer, own_squares, squares_between
from raycv.comparing.tables import pilot_of
from raycv.statistics.folding import folds_of
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.moments import JointMoments, covariance, mean, merge, offsets, variance
from raycv.statistics.sums import sums_of

LEAST_SAMPLES = 4  # for Song's estimator
Side = tuple[Sequence[int], Sequence[int]]  # members by their numbers: each of the first is compared with all others


@dataclass(frozen=True)
class Squares:
    """‖Σ‖² of the covariances of members, or estimates of it.

    ``own`` (L,): of each member alone; ``between`` (L, L): of two members compared with each other, NaN for others.
    """

    own: Floats
    between: Floats

    @property
    def cka(self) -> Floats:
        """(L, L): ‖C‖² / (‖Σ_a‖ ‖Σ_b‖); NaN where an own one is not positive, as without a live unit."""
        norms = np.sqrt(np.where(self.own > 0, self.own, np.nan))
        found: Floats = self.between / norms[:, None] / norms
        return found


class KeptMembers(Protocol):
    """What is kept of members, who go by their numbers."""

    @property
    def singles(self) -> LayerStatistics:
        """The sums of single units of all members, in eight folds."""

    @property
    def folds(self) -> Sequence[JointMoments]:
        """The sums of single units of all members, in as many folds as their products have."""

    def products(self, a: int, b: int) -> list[Floats]:
        """Σ y_a y_bᵀ (S_a, S_b) of two members, fold by fold."""

    def pair(self, a: int, b: int) -> LayerStatistics:
        """The moments of two members, as 0 and 1, fold by fold."""

    def squares(self, sides: Sequence[Side]) -> Squares:
        """Of all samples, biased."""

    def unbiased_squares(self, sides: Sequence[Side]) -> Squares:
        """Without bias: of independent samples by Song's estimator, of positions of images from folds."""


@dataclass(frozen=True, eq=False)
class WhenAsked:
    """Products made when they are asked for, of several sets of samples. ``squares``: their diagonal, if known."""

    parts: tuple[Callable[[], Floats], ...]
    squares: Floats | None = None

    def whole(self) -> Floats:
        found: Floats = reduce(np.add, (part() for part in self.parts))
        return found

    def diagonal(self) -> Floats:
        return self.whole().diagonal() if self.squares is None else self.squares

    def __add__(self, other: WhenAsked) -> WhenAsked:
        known = self.squares is not None and other.squares is not None
        return WhenAsked((*self.parts, *other.parts), self.diagonal() + other.diagonal() if known else None)


def of_two(sums: JointMoments, a: int, b: int, product: Callable[[int, int], Floats]) -> JointMoments:
    """The moments of two members as 0 and 1; ``product``: what makes those of any two."""
    bounds = offsets(sums.widths)
    spans = [slice(bounds[n], bounds[n + 1]) for n in (a, b)]

    def taken(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[span] for span in spans])

    return JointMoments(
        widths=sums.widths[[a, b]],
        count=sums.count,
        **{name: taken(getattr(sums, name)) for name in ("pilot", "total", "minimum", "maximum", "active")},
        blocks={
            (0, 0): WhenAsked((partial(product, a, a),), sums.blocks[a, a].diagonal()),
            (0, 1): WhenAsked((partial(product, a, b),)),
            (1, 1): WhenAsked((partial(product, b, b),), sums.blocks[b, b].diagonal()),
        },
    )


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
        self._widths, self._are_independent = widths, are_independent
        self._pilots = [pilot_of(values[:, None]) for values in self._rows]
        pilot, cuts = np.concatenate(self._pilots), _cuts(finer[order])
        sums = {fold: sums_of([values[cut] for values in self._rows], pilot) for fold, cut in cuts.items()}
        self.singles = LayerStatistics(tuple(of_fold for _, of_fold in sorted(sums.items())))
        self._cuts = _cuts(finer[order] % number)
        self.folds = [reduce(merge, [sums[fold] for fold in cuts if fold % number == place]) for place in self._cuts]

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
            return _songs(self.squares(sides), norms @ norms.T, self._traces, count)
        cuts = [cut for cut in self._cuts.values() if cut.stop - cut.start > 1]
        if len(cuts) < 2:
            return _nowhere(len(self._widths))
        each = [self._squares(sides, partial(self._of_fold, cut=cut), cut.stop - cut.start) for cut in cuts]
        samples = sum(cut.stop - cut.start for cut in cuts)
        together = self._squares(sides, lambda n: np.vstack([self._of_fold(n, cut) for cut in cuts]), samples)
        return _across_folds(together, each)

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


class KeptProducts:
    """Products of all units, fold by fold. ``norms``: sums for Song's estimator, where samples are independent."""

    def __init__(self, statistics: LayerStatistics, norms: NormSums | None) -> None:
        self._statistics, self._norms = statistics, norms
        self.singles = statistics.sums

    @property
    def folds(self) -> Sequence[JointMoments]:
        return self._statistics.folds

    def products(self, a: int, b: int) -> list[Floats]:
        return [fold.products(a, b) for fold in self._statistics.folds]

    def pair(self, a: int, b: int) -> LayerStatistics:
        return LayerStatistics(tuple(of_two(fold, a, b, fold.products) for fold in self._statistics.folds))

    def squares(self, sides: Sequence[Side]) -> Squares:
        return _squares_of(sides, len(self._sums.widths), partial(covariance, self._sums))

    def unbiased_squares(self, sides: Sequence[Side]) -> Squares:
        sums = self._sums
        if self._norms is not None and self._norms.count >= LEAST_SAMPLES:
            bounds = offsets(sums.widths)
            means = np.split(mean(sums), bounds[1:-1])
            traces = np.add.reduceat(variance(sums), bounds[:-1])
            norms = np.full((len(means), len(means)), np.nan)
            for a, b in [*((n, n) for n in range(len(means))), *_both_ways(sides)]:
                norms[a, b] = norms[b, a] = self._norms.products(a, b, means, covariance(sums, a, b))
            return _songs(self.squares(sides), norms, traces, self._norms.count)
        folds = [fold for fold in self._statistics.folds if fold.count > 1]
        if len(folds) < 2:
            return _nowhere(len(sums.widths))

        def unbiased(fold: JointMoments, a: int, b: int) -> Floats:
            found: Floats = covariance(fold, a, b) * (float(fold.count) / (float(fold.count) - 1))
            return found

        def together(a: int, b: int) -> Floats:
            return np.asarray(sum(unbiased(fold, a, b) for fold in folds))

        members = len(sums.widths)
        each = [_squares_of(sides, members, partial(unbiased, fold)) for fold in folds]
        return _across_folds(_squares_of(sides, members, together), each)

    @cached_property
    def _sums(self) -> JointMoments:
        return self._statistics.together


def _squares_of(sides: Sequence[Side], members: int, matrix: Callable[[int, int], Floats]) -> Squares:
    between = np.full((members, members), np.nan)
    for a, b in _both_ways(sides):
        between[a, b] = between[b, a] = (matrix(a, b) ** 2).sum()
    return Squares(np.array([(matrix(n, n) ** 2).sum() for n in range(members)]), between)


def _both_ways(sides: Sequence[Side]) -> list[tuple[int, int]]:
    """All pairs of members, of which what is found holds both ways."""
    return [(a, b) for first, second in sides for a in first for b in second]


def _songs(biased: Squares, norms: Floats, traces: Floats, samples: int) -> Squares:
    """Song's estimates, see `raycv.analysis.measures.alignment.debiased_cka`, times n (n - 3).

    ``norms`` (L, L): Σ |x|²|y|² over samples; ``traces`` (L,): the sums of the units' variances.
    """
    n = float(samples)

    def unbiased(squares: Floats, products: Floats, of_traces: Floats) -> Floats:
        return n**2 * squares - n / (n - 2) * products + n**2 * of_traces / ((n - 1) * (n - 2))

    return Squares(
        unbiased(biased.own, norms.diagonal(), traces**2), unbiased(biased.between, norms, np.outer(traces, traces))
    )


def _across_folds(together: Squares, each: Sequence[Squares]) -> Squares:
    """Of different folds alone, see `raycv.analysis.measures.alignment.cross_fold_cka`."""
    own, between = (reduce(np.add, [getattr(one, name) for one in each]) for name in ("own", "between"))
    return Squares(together.own - own, together.between - between)


def _nowhere(members: int) -> Squares:
    return Squares(np.full(members, np.nan), np.full((members, members), np.nan))


def _cuts(sorted_folds: np.ndarray) -> dict[int, slice]:
    """Where each fold's samples stand, which are together."""
    cuts, start = {}, 0
    for fold, of_fold in groupby(sorted_folds.tolist()):
        end = start + len(list(of_fold))
        cuts[fold] = slice(start, end)
        start = end
    return cuts
