"""Random rotations that all comparisons share: drawing one takes as long as all that is then done with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from raycv.analysis.arrays import Floats

KEPT = 2**27  # bytes of matrices that one of these keeps
LARGE = 1024  # units, above which a few matrices are too large to be held at once


class Rotations:
    """Orthonormal matrices (S, S), uniform over all (Haar), by size and number: the same whenever asked for.

    Who asks for which sizes first makes no difference. Any two of one size are independent: numbers 1, 2, 4, 8 and so
    on are drawn, and the others are products of these, 3 = 1 · 2, 5 = 1 · 4, 7 = 1 · 2 · 4, as a product with an
    independent rotation is one, independent of its other factor. That takes a third of the time. Those above 1,024
    units are all drawn. They are kept in memory as far as they fit 128 MiB.

    >>> rotations = Rotations(seed=3)
    >>> first, second, third = rotations.each(5, 3)
    >>> bool(np.allclose(third @ third.T, np.eye(5))), bool(np.allclose(third, first @ second))
    (True, True)
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed, self._bytes = seed, 0
        self._kept: dict[int, dict[int, Floats]] = {}

    def each(self, units: int, count: int) -> Iterator[Floats]:
        """The first ``count`` matrices of ``units`` x ``units``."""
        made = dict(self._kept.get(units, {}))
        for number in range(1, count + 1):
            last = 1 << (number.bit_length() - 1)
            if number in made:
                yield made[number]
            elif units > LARGE:
                yield self._drawn(units, number)
            else:
                made[number] = self._drawn(units, last) if number == last else made[number - last] @ made[last]
                self._keep(units, number, made[number])
                yield made[number]

    def _keep(self, units: int, number: int, matrix: Floats) -> None:
        if self._bytes + matrix.nbytes <= KEPT:
            self._kept.setdefault(units, {})[number] = matrix
            self._bytes += matrix.nbytes

    def _drawn(self, units: int, number: int) -> Floats:
        """The Q of the QR decomposition whose R has a positive diagonal (Mezzadri, 2007)."""
        q, r = np.linalg.qr(np.random.default_rng([self._seed, units, number]).standard_normal((units, units)))
        return np.asarray(q * np.sign(np.diagonal(r)))
