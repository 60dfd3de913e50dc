"""What is kept of the samples of layers that are compared with each other: enough to compare any two of them.

As long as samples are fewer than units they take less memory than products of units, and all that is asked for later
follows from them: then they are kept themselves (`raycv.api.kept_rows`), and products of two layers are made when
they are asked for. What is here needs no PyTorch: a run is read by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import Protocol

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.norms import NormSums
from raycv.statistics.folds import LayerStatistics
from raycv.statistics.moments import JointMoments, covariance, mean, offsets, variance
from raycv.statistics.parts import from_arrays, to_arrays

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


class KeptProducts:
    """Products of all units, fold by fold. ``norms``: sums for Song's estimator, where samples are independent."""

    def __init__(self, statistics: LayerStatistics, norms: NormSums | None) -> None:
        self._statistics, self._norms = statistics, norms
        self.singles = statistics.sums

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is kept, for storage."""
        statistics = self._statistics
        found = {"widths": np.asarray(self.singles.all.widths), "keep_rare": np.array(statistics.keep_rare)}
        for kind, folds in (("fold", statistics.folds), ("finer", statistics.finer)):
            for n, fold in enumerate(folds):
                of_fold = to_arrays(fold, products=kind == "fold")
                found |= {f"{kind}{n}/{name}": np.asarray(values) for name, values in of_fold.items()}
        norms = {} if self._norms is None else self._norms.arrays()
        return found | {f"norms/{name}": values for name, values in norms.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> KeptProducts:
        """What ``arrays`` gave."""

        def below(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): of for name, of in arrays.items() if name.startswith(prefix)}

        widths = arrays["widths"].tolist()
        folds: dict[str, list[JointMoments]] = {"fold": [], "finer": []}
        for kind, found in folds.items():
            while of_fold := below(f"{kind}{len(found)}/"):
                found.append(from_arrays(of_fold, widths, range(len(widths))))
        norms = below("norms/")
        statistics = LayerStatistics(tuple(folds["fold"]), tuple(folds["finer"]), bool(arrays["keep_rare"]))
        return cls(statistics, NormSums.from_arrays(norms, len(widths)) if norms else None)

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
            return songs(self.squares(sides), norms, traces, self._norms.count)
        folds = [fold for fold in self._statistics.folds if fold.count > 1]
        if len(folds) < 2:
            return nowhere(len(sums.widths))

        def unbiased(fold: JointMoments, a: int, b: int) -> Floats:
            found: Floats = covariance(fold, a, b) * (float(fold.count) / (float(fold.count) - 1))
            return found

        def together(a: int, b: int) -> Floats:
            return np.asarray(sum(unbiased(fold, a, b) for fold in folds))

        members = len(sums.widths)
        each = [_squares_of(sides, members, partial(unbiased, fold)) for fold in folds]
        return across_folds(_squares_of(sides, members, together), each)

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


def songs(biased: Squares, norms: Floats, traces: Floats, samples: int) -> Squares:
    """Song's estimates, see `raycv.analysis.measures.alignment.debiased_cka`, times n (n - 3).

    ``norms`` (L, L): Σ |x|²|y|² over samples; ``traces`` (L,): the sums of the units' variances.
    """
    n = float(samples)

    def unbiased(squares: Floats, products: Floats, of_traces: Floats) -> Floats:
        return n**2 * squares - n / (n - 2) * products + n**2 * of_traces / ((n - 1) * (n - 2))

    return Squares(
        unbiased(biased.own, norms.diagonal(), traces**2), unbiased(biased.between, norms, np.outer(traces, traces))
    )


def across_folds(together: Squares, each: Sequence[Squares]) -> Squares:
    """Of different folds alone, see `raycv.analysis.measures.alignment.cross_fold_cka`."""
    own, between = (reduce(np.add, [getattr(one, name) for one in each]) for name in ("own", "between"))
    return Squares(together.own - own, together.between - between)


def nowhere(members: int) -> Squares:
    return Squares(np.full(members, np.nan), np.full((members, members), np.nan))
