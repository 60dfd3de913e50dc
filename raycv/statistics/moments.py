"""Joint moments of the units of several networks: how to merge them and what follows from them.

A *pilot*, a rough mean over the first images, is subtracted from all values before they are multiplied. Without it,
float32 products lose every digit of a unit whose mean is much larger than its spread. Chan, Golub & LeVeque (1983)
give this shifted-data form. All partials share one pilot, so a merge is plain addition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Protocol, Self

import numpy as np

Pair = tuple[int, int]  # the numbers of two networks a <= b


class Products(Protocol):
    """The sums Σ y_a y_bᵀ of the units of two networks, in whatever form they are kept; the same form is added."""

    def whole(self) -> np.ndarray:
        """(S_a, S_b). Raises ValueError where only the diagonal is known."""
        ...

    def diagonal(self) -> np.ndarray:
        """Σ y² (S,), of a network with itself."""
        ...

    def __add__(self, other: Self) -> Self: ...


@dataclass(frozen=True, eq=False)
class Whole:
    """All products (S_a, S_b), as they are."""

    values: np.ndarray

    def whole(self) -> np.ndarray:
        return self.values

    def diagonal(self) -> np.ndarray:
        return self.values.diagonal()

    def __add__(self, other: Whole) -> Whole:
        return Whole(self.values + other.values)


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Of a network with itself the diagonal Σ y² (S,) alone, for means and variances."""

    squares: np.ndarray

    def whole(self) -> np.ndarray:
        raise ValueError("only the squares of single units are known, not the products of two")

    def diagonal(self) -> np.ndarray:
        return self.squares

    def __add__(self, other: Diagonal) -> Diagonal:
        return Diagonal(self.squares + other.squares)


@dataclass(frozen=True, eq=False)
class AddedWhenAsked:
    """The products of several sets of samples in the place of their sum, which would take as much memory as each."""

    summands: tuple[Products, ...]

    def whole(self) -> np.ndarray:
        return reduce(np.add, [one.whole() for one in self.summands])

    def diagonal(self) -> np.ndarray:
        return reduce(np.add, [one.diagonal() for one in self.summands])

    def __add__(self, other: AddedWhenAsked) -> AddedWhenAsked:
        return AddedWhenAsked((*self.summands, *other.summands))


@dataclass(frozen=True)
class JointMoments:
    """Sums over samples x of the U stacked units of all networks, y = x - pilot.

    widths (N,): units of each network, which add up to U; pilot (U,); count (): the number of samples; total (U,): Σy;
    minimum, maximum (U,) of y; active (U,): number of samples with x > 0; blocks: Σ y_a y_bᵀ of every pair of networks
    a <= b.
    """

    widths: np.ndarray
    pilot: np.ndarray
    count: np.ndarray
    total: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    active: np.ndarray
    blocks: Mapping[Pair, Products]

    def of(self, a: int, b: int) -> JointMoments:
        """The moments of networks a and b alone, in this order, as copies."""
        bounds = offsets(self.widths)
        units = np.concatenate([np.arange(bounds[n], bounds[n + 1]) for n in (a, b)])
        pairs = {(0, 0): (a, a), (0, 1): (a, b), (1, 1): (b, b)}
        return JointMoments(
            widths=self.widths[[a, b]],
            count=self.count,
            **{name: getattr(self, name)[units] for name in ("pilot", "total", "minimum", "maximum", "active")},
            blocks={new: Whole(np.array(self.products(*old), order="C")) for new, old in pairs.items()},
        )

    def products(self, a: int, b: int) -> np.ndarray:
        """Σ y_a y_bᵀ (S_a, S_b) of two networks' units, as a view where they are kept whole."""
        return self.blocks[a, b].whole() if a <= b else self.blocks[b, a].whole().T

    def strips(self) -> list[np.ndarray]:
        """For each network n the products (S_n, S_n + ... + S_N) of its units with those of networks n, n+1, ..."""
        networks = range(len(self.widths))
        return [np.hstack([self.products(n, m) for m in networks[n:]]) for n in networks]


def from_strips(strips: Sequence[np.ndarray], widths: Sequence[int]) -> dict[Pair, Products]:
    """The blocks of ``strips``, the inverse of `Moments.strips`, as views."""
    bounds = offsets(widths)
    return {
        (a, b): Whole(strip[:, bounds[b] - bounds[a] : bounds[b + 1] - bounds[a]])
        for a, strip in enumerate(strips)
        for b in range(a, len(widths))
    }


def offsets(widths: Sequence[int] | np.ndarray) -> list[int]:
    """(N + 1,): where each network's units begin among the stacked units, and where the last network's units end."""
    return [0, *np.cumsum(widths).tolist()]


def gram_bytes(widths: Sequence[int]) -> int:
    """The bytes of the products of networks of these widths, N of them: 8·(U² + Σ S²)/2."""
    return 4 * (sum(widths) ** 2 + sum(width**2 for width in widths))


def joined(name: str, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """One quantity of `Moments`, by its name, over both sets of samples: the one way in which sums are put together.

    Written to ``out`` if given. Raises ValueError for two different pilots.
    """
    if name == "pilot":
        if not np.array_equal(a, b):
            raise ValueError("only moments around the same pilot can be added")
        return a
    join = {"minimum": np.minimum, "maximum": np.maximum}.get(name, np.add)
    return np.asarray(join(a, b, out=out))


def merge(a: JointMoments, b: JointMoments) -> JointMoments:
    """The moments of both sets of samples together; neither argument changes.

    Raises ValueError if their networks or pilots differ.
    """
    if not (np.array_equal(a.widths, b.widths) and np.array_equal(a.pilot, b.pilot)):
        raise ValueError("only moments of the same networks around the same pilot can be merged")
    names = ("pilot", "count", "total", "minimum", "maximum", "active")
    return JointMoments(
        widths=a.widths,
        **{name: joined(name, getattr(a, name), getattr(b, name)) for name in names},
        blocks={pair: block + b.blocks[pair] for pair, block in a.blocks.items()},
    )


def shifted(m: JointMoments, pilot: np.ndarray) -> JointMoments:
    """The same moments around another ``pilot`` (U,), in float64."""
    move = m.pilot.astype(np.float64) - pilot
    bounds = offsets(m.widths)
    moves, totals = ([of[i:j] for i, j in pairwise(bounds)] for of in (move, m.total))
    blocks: dict[Pair, Products] = {}
    for (a, b), block in m.blocks.items():
        mixed = np.outer(moves[a], totals[b]) + np.outer(totals[a], moves[b])
        blocks[a, b] = Whole(block.whole() + mixed + m.count * np.outer(moves[a], moves[b]))
    extremes = {name: getattr(m, name) + move for name in ("minimum", "maximum")}
    return replace(m, pilot=pilot, total=m.total + m.count * move, blocks=blocks, **extremes)


def mean(m: JointMoments) -> np.ndarray:
    """Mean activation of every unit (U,), float64."""
    result: np.ndarray = m.pilot.astype(np.float64) + m.total / m.count
    return result


def covariance(m: JointMoments, a: int, b: int) -> np.ndarray:
    """Covariance (S_a, S_b) of network a's units with network b's (a may equal b), float64, divided by the count."""
    bounds = offsets(m.widths)
    ya, yb = m.total[bounds[a] : bounds[a + 1]], m.total[bounds[b] : bounds[b + 1]]
    result = np.outer(ya, yb / m.count)  # then in place, as it may be large
    np.subtract(m.products(a, b), result, out=result)
    result /= m.count
    return result


def variance(m: JointMoments) -> np.ndarray:
    """Variance of every unit (U,), float64, never negative; exactly 0 for a constant unit."""
    squares = np.concatenate([m.blocks[n, n].diagonal() for n in range(len(m.widths))])
    spread = np.maximum(squares - m.total**2 / m.count, 0) / m.count
    return np.where(m.minimum == m.maximum, 0.0, spread)


def correlation(m: JointMoments, a: int, b: int) -> np.ndarray:
    """Pearson correlation (S_a, S_b) of network a's units with network b's (paper, section 2).

    NaN in the rows and columns of constant units. The diagonal of a network with itself is exactly 1. The result is
    within 5e-6 of ``numpy.corrcoef`` of the same samples in float64.
    """
    bounds = offsets(m.widths)
    spread = np.sqrt(variance(m))
    spread[spread == 0] = np.nan
    sa, sb = spread[bounds[a] : bounds[a + 1]], spread[bounds[b] : bounds[b + 1]]
    result = covariance(m, a, b)
    result /= np.outer(sa, sb)
    np.clip(result, -1, 1, out=result)
    if a == b:
        np.fill_diagonal(result, np.where(np.isnan(sa), np.nan, 1.0))
    return result
