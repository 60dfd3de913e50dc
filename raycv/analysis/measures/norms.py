"""Sums over samples from which unbiased CKA follows, batch by batch: what covariances do not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.alignment import NormProducts
from raycv.extras import needed

if TYPE_CHECKING:
    from torch import Tensor


class NormSums:
    """Sums of squared norms of the samples of several members, their products, and units weighted by them.

    All are around a pilot mean, that of the first batch, in float64.
    """

    def __init__(self) -> None:
        self._pilots: list[Tensor] = []
        self._norms: Tensor
        self._products: Tensor
        self._weighted: list[Tensor] = []
        self.count = 0

    def add(self, activations: Sequence[Tensor]) -> None:
        """Add the same samples (n, S) of every member."""
        with needed():
            import torch

        values = [member.double() for member in activations]
        if not self._pilots:
            members = len(values)
            self._pilots = [member.mean(0) for member in values]
            self._norms = torch.zeros(members, dtype=torch.float64)
            self._products = torch.zeros(members, members, dtype=torch.float64)
            self._weighted = [torch.zeros(members, member.shape[1], dtype=torch.float64) for member in values]
        values = [member - pilot for member, pilot in zip(values, self._pilots, strict=True)]
        norms = torch.stack([member.square().sum(1) for member in values], 1)
        self._norms += norms.sum(0)
        self._products += norms.T @ norms
        for of_member, member in zip(self._weighted, values, strict=True):
            of_member += norms.T @ member
        self.count += len(norms)

    def arrays(self) -> dict[str, np.ndarray]:
        """All sums, for storage."""
        found = {"count": np.array(self.count), "norms": self._norms.numpy(), "products": self._products.numpy()}
        for n, (pilot, weighted) in enumerate(zip(self._pilots, self._weighted, strict=True)):
            found |= {f"{n}/pilot": pilot.numpy(), f"{n}/weighted": weighted.numpy()}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], members: int) -> NormSums:
        """What ``arrays`` gave of so many members."""
        with needed():
            import torch

        made = cls()
        made.count = int(arrays["count"])
        made._norms, made._products = torch.from_numpy(arrays["norms"]), torch.from_numpy(arrays["products"])
        made._pilots = [torch.from_numpy(arrays[f"{n}/pilot"]) for n in range(members)]
        made._weighted = [torch.from_numpy(arrays[f"{n}/weighted"]) for n in range(members)]
        return made

    def products(self, a: int, b: int, means: Sequence[Floats], cross: Floats) -> float:
        """Σ |x|²|y|² of members a and b around their ``means``, by member (S,); ``cross`` (S_a, S_b): covariances."""
        with needed():
            import torch

        first, second = (torch.from_numpy(np.asarray(means[n], np.float64)) - self._pilots[n] for n in (a, b))
        of_first, of_second = first @ first, second @ second
        mixed = first @ torch.from_numpy(np.ascontiguousarray(cross)) @ second
        total = self._products[a, b] - 2 * second @ self._weighted[b][a] - 2 * first @ self._weighted[a][b]
        total += of_second * self._norms[a] + of_first * self._norms[b]
        return float(total + self.count * (4 * mixed + of_first * of_second))

    def of_pair(self, a: int, b: int, means: Sequence[Floats], within: Sequence[Floats]) -> NormProducts:
        """Those of two members; ``within``: covariances of a, of a with b, and of b, of all their units."""
        return NormProducts(
            self.products(a, a, means, within[0]),
            self.products(a, b, means, within[1]),
            self.products(b, b, means, within[2]),
        )
