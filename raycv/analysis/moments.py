"""Joint moments of the units of several networks: how to merge them and what follows from them.

A *pilot*, a rough mean over the first images, is subtracted from all values before they are multiplied. Without it,
float32 products lose every digit of a unit whose mean is much larger than its spread. Chan, Golub & LeVeque (1983)
give this shifted-data form. All partials share one pilot, so a merge is plain addition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Sums over samples x of the U stacked units of all networks, y = x - pilot.

    widths (N,): units of each network, which add up to U; pilot (U,); count (): the number of samples; total (U,): Σy;
    minimum, maximum (U,) of y; active (U,): number of samples with x > 0; gram: the upper part of Σ y yᵀ (U, U), as
    one strip per network. Strip n (S_n, S_n + ... + S_N) has the rows of network n and the columns of networks n,
    n+1, ...; the lower part mirrors the upper one.
    """

    widths: np.ndarray
    pilot: np.ndarray
    count: np.ndarray
    total: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    active: np.ndarray
    gram: tuple[np.ndarray, ...]

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The same values as named arrays, for storage."""
        named = {f"{prefix}/{f.name}": getattr(self, f.name) for f in fields(self) if f.name != "gram"}
        return named | {f"{prefix}/gram{n}": strip for n, strip in enumerate(self.gram)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str) -> Self:
        """The inverse of ``arrays``."""
        named = {f.name: arrays[f"{prefix}/{f.name}"] for f in fields(cls) if f.name != "gram"}
        gram = tuple(arrays[f"{prefix}/gram{n}"] for n in range(len(named["widths"])))
        return cls(**named, gram=gram)

    def of(self, a: int, b: int) -> Moments:
        """The moments of networks a and b alone, in this order, as copies."""
        bounds = offsets(self.widths)
        units = np.concatenate([np.arange(bounds[n], bounds[n + 1]) for n in (a, b)])
        return Moments(
            widths=self.widths[[a, b]],
            count=self.count,
            **{name: getattr(self, name)[units] for name in ("pilot", "total", "minimum", "maximum", "active")},
            gram=(np.hstack([self.products(a, a), self.products(a, b)]), self.products(b, b).copy()),
        )

    def products(self, a: int, b: int) -> np.ndarray:
        """Σ y_a y_bᵀ (S_a, S_b) of two networks' units, as a view."""
        if a > b:
            return self.products(b, a).T
        bounds = offsets(self.widths)
        return self.gram[a][:, bounds[b] - bounds[a] : bounds[b + 1] - bounds[a]]


class Squares:
    """In the place of a strip of products where only its diagonal Σ y² (S_n,) is known: for means and variances."""

    def __init__(self, squares: np.ndarray) -> None:
        self._squares = squares

    def __add__(self, other: Squares) -> Squares:
        return Squares(self._squares + other._squares)

    def diagonal(self) -> np.ndarray:
        """(S_n,)."""
        return self._squares


def offsets(widths: Sequence[int] | np.ndarray) -> list[int]:
    """(N + 1,): where each network's units begin among the stacked units, and where the last network's units end."""
    return [0, *np.cumsum(widths).tolist()]


def gram_bytes(widths: Sequence[int]) -> int:
    """The bytes of the products of networks of these widths, N of them: 8·(U² + Σ S²)/2."""
    return 4 * (sum(widths) ** 2 + sum(width**2 for width in widths))


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of samples together; neither argument changes.

    Raises ValueError if their networks or pilots differ.
    """
    if not (np.array_equal(a.widths, b.widths) and np.array_equal(a.pilot, b.pilot)):
        raise ValueError("only moments of the same networks around the same pilot can be merged")
    return Moments(
        widths=a.widths,
        pilot=a.pilot,
        count=a.count + b.count,
        total=a.total + b.total,
        minimum=np.minimum(a.minimum, b.minimum),
        maximum=np.maximum(a.maximum, b.maximum),
        active=a.active + b.active,
        gram=tuple(x + y for x, y in zip(a.gram, b.gram, strict=True)),
    )


def shifted(m: Moments, pilot: np.ndarray) -> Moments:
    """The same moments around another ``pilot`` (U,), in float64."""
    move = m.pilot.astype(np.float64) - pilot
    bounds = offsets(m.widths)
    gram = []
    for strip, first, last in zip(m.gram, bounds, bounds[1:], strict=False):
        mixed = np.outer(move[first:last], m.total[first:]) + np.outer(m.total[first:last], move[first:])
        gram.append(strip + mixed + m.count * np.outer(move[first:last], move[first:]))
    extremes = {name: getattr(m, name) + move for name in ("minimum", "maximum")}
    return replace(m, pilot=pilot, total=m.total + m.count * move, gram=tuple(gram), **extremes)


def mean(m: Moments) -> np.ndarray:
    """Mean activation of every unit (U,), float64."""
    result: np.ndarray = m.pilot.astype(np.float64) + m.total / m.count
    return result


def covariance(m: Moments, a: int, b: int) -> np.ndarray:
    """Covariance (S_a, S_b) of network a's units with network b's (a may equal b), float64, divided by the count."""
    bounds = offsets(m.widths)
    ya, yb = m.total[bounds[a] : bounds[a + 1]], m.total[bounds[b] : bounds[b + 1]]
    result = np.outer(ya, yb / m.count)  # then in place, as it may be large
    np.subtract(m.products(a, b), result, out=result)
    result /= m.count
    return result


def variance(m: Moments) -> np.ndarray:
    """Variance of every unit (U,), float64, never negative; exactly 0 for a constant unit."""
    squares = np.concatenate([strip.diagonal() for strip in m.gram])
    spread = np.maximum(squares - m.total**2 / m.count, 0) / m.count
    return np.where(m.minimum == m.maximum, 0.0, spread)


def correlation(m: Moments, a: int, b: int) -> np.ndarray:
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
