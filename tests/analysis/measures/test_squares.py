"""Sums of squares of products by n x n matrices and by products, in tiles of any size, against NumPy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from raycv.analysis.measures import squares
from raycv.analysis.measures.squares import own_squares, squares_between


@pytest.mark.parametrize("samples", [2, 30, 400])
@pytest.mark.parametrize("memory", [1, 20_000, 2**28])
def test_tiles_of_any_size_give_what_numpy_gives(samples: int, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "WORKING_MEMORY", memory)
    rng = np.random.default_rng(samples)
    widths = [3, 1, 40], [17, 1, 1, 60]
    sides = [[rng.standard_normal((samples, width)) for width in of_side] for of_side in widths]
    a, b = ([partial(np.copy, layer) for layer in side] for side in sides)
    expected = [[((x.T @ y) ** 2).sum() for y in sides[1]] for x in sides[0]]
    np.testing.assert_allclose(squares_between(a, b, widths, samples), expected)
    np.testing.assert_allclose(own_squares(a), [((x.T @ x) ** 2).sum() for x in sides[0]])
