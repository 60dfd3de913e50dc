"""Into how many folds the products of a layer are kept."""

from __future__ import annotations

import pytest

from raycv.statistics.folding import folds_of, has_own_sums


@pytest.mark.parametrize(
    ("networks", "units", "folds"),
    [(2, 3, 8), (40, 1024, 8), (4, 1280, 8), (2, 3072, 8), (2, 4096, 4), (4, 2048, 4), (4, 4096, 2), (2, 16384, 2)],
)
def test_folds_are_as_many_as_memory_allows(networks: int, units: int, folds: int) -> None:
    widths = [units] * networks
    assert folds_of(widths) == folds
    assert has_own_sums(widths) == (folds < 8)
    assert folds_of([*widths[1:], 2]) >= folds
