"""Samples as they come, batch by batch, in whatever form takes less memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from raycv.analysis.measures.norms import NormSums
from raycv.api.kept import KeptMembers, KeptProducts
from raycv.api.kept_rows import KeptRows
from raycv.api.moments import Moments
from raycv.api.tables import Tables, check_members, check_numbers, fold_of_each, tables_of
from raycv.errors import UserError
from raycv.memory import available
from raycv.statistics.folding import folds_of
from raycv.statistics.moments import gram_bytes


class Collected:
    """The samples of members that are compared with each other, or their moments where these take less memory.

    ``expected``: how many images will come, where that is known; then it is said before any is kept that they do not
    fit this machine.
    """

    def __init__(self, expected: int | None = None) -> None:
        self._expected = expected
        self._batches: list[tuple[Any, Tables]] = []
        self._folds: list[np.ndarray] = []
        self._widths: dict[str, int] = {}
        self._positions: int | None = None  # of each image, where all have as many
        self._samples = self._images = self._bytes = 0
        self._are_independent = True
        self._moments: Moments | None = None
        self._norms = NormSums()

    @property
    def samples(self) -> int:
        """How many were added; each position of an image is one."""
        return self._samples

    def update(self, ids: Any, activations: Mapping[str, Any], mask: torch.Tensor | None = None) -> None:
        """Add a batch, see `raycv.Moments.update`, with its errors.

        ``mask``: of sequences, whose lengths may differ from batch to batch, which positions count (n, T).
        Raises UserError where what is kept would not fit the memory of this machine.
        """
        tables, count, positions = tables_of(activations)
        if not count:
            return
        each: Any = positions
        if mask is None:
            self._check_positions(positions)
        else:
            each = mask.sum(1).numpy()
            ids = np.repeat(np.arange(self._images, self._images + count) if ids is None else np.asarray(ids), each)
            tables = {name: _rows(table, mask) for name, table in tables.items()}
        check_members(tables, self._widths)
        if not self._widths:
            self._widths = {name: table.shape[2] for name, table in tables.items()}
        samples = len(next(iter(tables.values()))) * (positions if mask is None else 1)
        if not samples:
            self._images += count
            return
        check_numbers(tables, self._samples)
        self._are_independent &= bool(np.all(each == 1))
        size = sum(table.numel() * table.element_size() for table in tables.values())
        self._check_memory(size, count)
        if self._moments is None:
            folds = fold_of_each(ids, len(next(iter(tables.values()))), self._images)
            self._folds.append(np.repeat(folds, positions) if mask is None else folds)
            self._batches.append((ids, {name: _copy(table) for name, table in tables.items()}))
            self._bytes += size
        else:
            self._add(ids, tables)
        self._images += count
        self._samples += samples
        if self._moments is None and self._bytes > self._of_products and 2 * self._of_products < available():
            self._moments = Moments()
            while self._batches:
                self._add(*self._batches.pop(0))

    def kept(self) -> KeptMembers:
        """What has come; nothing can be added after that."""
        if self._moments is not None:
            return KeptProducts(self._moments.statistics, self._norms if self._are_independent else None)
        rows: list[torch.Tensor] = []
        for name in self._widths:
            rows.append(torch.cat([tables.pop(name).flatten(0, 1) for _, tables in self._batches]))
        self._batches = []
        return KeptRows(rows, np.concatenate(self._folds), are_independent=self._are_independent)

    @property
    def _of_products(self) -> int:
        """Bytes of the products of all units, in their folds."""
        widths = list(self._widths.values())
        return gram_bytes(widths) * folds_of(widths)

    def _add(self, ids: Any, tables: Tables) -> None:
        assert self._moments is not None
        self._moments.update(ids, **{name: table.transpose(1, 2) for name, table in tables.items()})
        if self._are_independent:  # else samples depend on each other
            self._norms.add([table[:, 0] for table in tables.values()])

    def _check_positions(self, positions: int) -> None:
        """Raise ValueError where a batch has other positions than those before."""
        self._positions = positions if self._positions is None else self._positions
        if positions != self._positions:
            raise ValueError(
                f"a batch has {positions:,} positions of each sample, and those before {self._positions:,}"
            )

    def _check_memory(self, size: int, count: int) -> None:
        """Raise UserError where neither the samples nor their products fit; ``size``: bytes of a batch of ``count``."""
        if self._moments is not None:
            return
        coming = max(count, (self._expected or 0) - self._images)
        there, needed = available(), min(size * coming // count, 2 * self._of_products)
        if needed > there:
            known = f"{self._images + coming:,} images" if self._expected else f"images beyond {self._images:,}"
            raise UserError(
                f"Comparing {sum(self._widths.values()):,} units of {len(self._widths)} layers in {known} takes "
                f"{needed / 1e9:,.1f} GB of memory more and this machine has {there / 1e9:,.1f} GB to spare; name "
                'fewer layers with layers, give fewer images, or take means with positions="mean".'
            )


def _rows(table: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The positions (N, 1, S) that count of (n, T, S)."""
    rows = table.flatten(0, 1)
    return (rows if mask.all() else rows[mask.flatten()])[:, None]


def _copy(table: torch.Tensor) -> torch.Tensor:
    """Of its own, as what was given may change before it is used."""
    return table.clone(memory_format=torch.contiguous_format)
