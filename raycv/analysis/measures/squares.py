"""The sums of squares of products of layers, all pairs at once: what CKA is made of.

‖XᵀY‖² of activations X (n, S_a) and Y (n, S_b) is also ⟨XXᵀ, YYᵀ⟩. Where samples are fewer than units, the n x n
matrices of all layers, each computed once, take far fewer operations than the products of every pair of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from raycv.analysis.arrays import Floats

WORKING_MEMORY = 2**28  # bytes of a tile, at most
Layer = Callable[[], Floats]  # the activations (n, S) of a layer, made when asked for


def own_squares(layers: Sequence[Layer]) -> Floats:
    """(L,): ‖XᵀX‖² of every layer."""
    return np.array([_norm(layer()) for layer in layers])


def _norm(x: Floats) -> float:
    product = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    return float(np.square(product, out=product).sum())


def squares_between(
    a: Sequence[Layer], b: Sequence[Layer], widths: tuple[Sequence[int], Sequence[int]], samples: int
) -> Floats:
    """(L_a, L_b): ‖XᵀY‖² of every layer of ``a`` with every one of ``b``; ``widths``: their units, in both.

    In tiles of 256 MiB or, where that is more, of one row of samples of all layers, or of two layers.
    """
    units = sum(widths[0]), sum(widths[1])
    by_grams = samples * samples * (sum(units) + len(a) * len(b))
    if by_grams < samples * units[0] * units[1]:
        return _by_grams([*a, *b], len(a), samples)
    return _by_products(a, b, widths)


def _by_grams(layers: Sequence[Layer], first: int, samples: int) -> Floats:
    """Strip by strip of the n x n matrices: of the first layers with the rest."""
    step = max(1, WORKING_MEMORY // (8 * samples * len(layers)))
    found = np.zeros((first, len(layers) - first))
    for start in range(0, samples, step):
        strips = np.empty((len(layers), min(step, samples - start) * samples))
        for layer, strip in zip(layers, strips, strict=True):
            x = layer()
            np.matmul(x[start : start + step], x.T, out=strip.reshape(-1, samples))
        found += strips[:first] @ strips[first:].T
    return found


def _by_products(a: Sequence[Layer], b: Sequence[Layer], widths: tuple[Sequence[int], Sequence[int]]) -> Floats:
    """Some layers of ``a`` with some of ``b`` at a time."""
    units = int((WORKING_MEMORY / 8) ** 0.5)
    found = np.empty((len(a), len(b)))
    for rows in _tiles(widths[0], units):
        x = np.hstack([layer() for layer in a[rows]])
        for columns in _tiles(widths[1], units):
            product = x.T @ np.hstack([layer() for layer in b[columns]])
            np.square(product, out=product)
            of_columns = np.add.reduceat(product, _starts(widths[1][columns]), axis=1)
            found[rows, columns] = np.add.reduceat(of_columns, _starts(widths[0][rows]), axis=0)
    return found


def _tiles(widths: Sequence[int], units: int) -> list[slice]:
    """Neighbouring layers of so many units together, or one wider one."""
    tiles, first, held = [], 0, 0
    for n, width in enumerate(widths):
        if held and held + width > units:
            tiles.append(slice(first, n))
            first, held = n, 0
        held += width
    return [*tiles, slice(first, len(widths))]


def _starts(widths: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(widths)[:-1].tolist()]
