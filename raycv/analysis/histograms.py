"""Joint histograms of coded samples: how often two units have each pair of codes, as exact integers.

A CPU counts sample by sample. Consecutive samples go to four tables in turn: adding twice in a row to the same
counter would have to wait until the first sum is stored. Four tables of 21 x 21 counters fit the first-level
cache. If most samples of a unit are in the special bin, only its other samples are counted, and the special row
follows from the partner's marginal counts. On another device a histogram is a matrix product of one-hot codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from raycv.extras import needed

with needed():
    from numba import njit

if TYPE_CHECKING:
    from torch import Tensor

Codes: TypeAlias = "np.ndarray | Tensor"  # (S, samples) uint8, one row per unit

MAX_BINS = 256  # codes are bytes, and cell numbers below 256² fit 16 bits
CELLS_AT_ONCE = 2048
# Counts up to 2,048 are exact in float16 with any accumulator, so one product takes up to 2,048 samples.
SAMPLES_PER_PRODUCT = 2048


def joint_histograms(codes_a: Codes, codes_b: Codes, bins: int) -> np.ndarray:
    """Count how often every two units have each pair of codes, as exact integers.

    Counts of disjoint sets of samples, such as shards, can be added in any order to give the counts of all samples.
    numpy codes are counted on the calling thread, which releases the interpreter lock; torch codes on their device.
    Memory is 4·S_a·S_b·bins² bytes; `pairwise_information` needs less.

    Parameters
    ----------
    codes_a : ndarray or Tensor of shape (S_a, n), uint8
        One code for each sample, unit by unit, below ``bins``.
    codes_b : ndarray or Tensor of shape (S_b, n), uint8
        The same of b, of the same kind of array.
    bins : int
        How many codes there are, up to 256.

    Returns
    -------
    ndarray of shape (S_a, S_b, bins, bins), int32
        Entry [i, j, x, y] is the number of samples with code x in unit i of a and code y in unit j of b, equal to
        ``numpy.histogram2d(codes_a[i], codes_b[j], bins=[range(bins + 1)] * 2)``.

    Raises
    ------
    ValueError
        For codes of another shape, type or range.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import joint_histograms
    >>> codes = np.array([[0, 1, 1, 1]], dtype=np.uint8)
    >>> joint_histograms(codes, 1 - codes, 2).tolist()
    [[[[0, 1], [3, 0]]]]
    """
    if not (isinstance(codes_a, np.ndarray) or isinstance(codes_b, np.ndarray)):
        return product_histograms(codes_a, codes_b, bins).cpu().numpy()
    _check(codes_a, codes_b, bins)
    counts = np.empty((len(codes_a), len(codes_b), bins, bins), np.int32)
    codes_a, codes_b = np.ascontiguousarray(codes_a), np.ascontiguousarray(codes_b)
    of_a, of_b = _marginals(codes_a, bins), _marginals(codes_b, bins)
    _count_dense(codes_a, of_a, codes_b, of_b, counts)
    _count_sparse(codes_a, of_a, codes_b, of_b, counts, True)
    _count_sparse(codes_b, of_b, codes_a, of_a, counts.transpose(1, 0, 3, 2), False)
    return counts


def product_histograms(codes_a: Tensor, codes_b: Tensor, bins: int) -> Tensor:
    """`joint_histograms` as products of one-hot codes, on the tensors' device, where the counts stay."""
    with needed():
        import torch

    _check(codes_a, codes_b, bins)
    counts = torch.zeros(len(codes_a) * bins, len(codes_b) * bins, dtype=torch.int32, device=codes_a.device)
    for start in range(0, codes_a.shape[1], SAMPLES_PER_PRODUCT):
        part = slice(start, start + SAMPLES_PER_PRODUCT)
        counts += (_one_hot(codes_a[:, part], bins) @ _one_hot(codes_b[:, part], bins).T).int()
    return counts.view(len(codes_a), bins, len(codes_b), bins).transpose(1, 2).contiguous()


def _check(codes_a: Codes, codes_b: Codes, bins: int) -> None:
    if not 1 <= bins <= MAX_BINS:
        raise ValueError(f"bins is {bins}; it must be from 1 to {MAX_BINS}")
    if isinstance(codes_a, np.ndarray) != isinstance(codes_b, np.ndarray):
        raise ValueError("codes of the two sides must both be numpy arrays or both torch tensors")
    for side, codes in (("a", codes_a), ("b", codes_b)):
        if codes.ndim != 2 or str(codes.dtype) not in ("uint8", "torch.uint8"):
            raise ValueError(
                f"codes_{side} are {codes.dtype} of shape {tuple(codes.shape)}; they must be uint8 (units, samples)"
            )
        if 0 not in codes.shape and int(codes.max()) >= bins:
            raise ValueError(f"codes_{side} holds code {int(codes.max())}, but there are only {bins} bins")
    if codes_a.shape[1] != codes_b.shape[1]:
        raise ValueError(
            f"codes_a has {codes_a.shape[1]} samples and codes_b {codes_b.shape[1]}; samples must be paired"
        )


def _one_hot(codes: Tensor, bins: int) -> Tensor:
    """(S·bins, samples) float16 from codes (S, samples): 1 where the sample has the code of the row."""
    with needed():
        import torch

    each = torch.arange(bins, dtype=torch.uint8, device=codes.device)
    return (codes[:, None, :] == each[:, None]).half().view(-1, codes.shape[1])


@njit(cache=True, nogil=True)
def _count_dense(
    codes_a: np.ndarray, of_a: np.ndarray, codes_b: np.ndarray, of_b: np.ndarray, counts: np.ndarray
) -> None:
    """Fill counts (S_a, S_b, bins, bins) for the pairs whose units are both mostly outside the special bin.

    of_a, of_b (S, bins) are the counts of each unit's codes.
    """
    samples, bins = codes_a.shape[1], counts.shape[2]
    tables = np.empty((4, bins * bins), np.int32)
    cells = np.empty(CELLS_AT_ONCE, np.uint16)
    offsets = np.empty(samples, np.uint16)
    for i in range(len(codes_a)):
        if 2 * of_a[i, 0] > samples:
            continue
        for k in range(samples):
            offsets[k] = codes_a[i, k] * bins
        for j in range(len(codes_b)):
            if 2 * of_b[j, 0] > samples:
                continue
            tables[:] = 0
            _add_all(offsets, codes_b[j], cells, tables)
            _add_tables(tables, counts[i, j])


@njit(cache=True, nogil=True)
def _count_sparse(
    codes_a: np.ndarray,
    of_a: np.ndarray,
    codes_b: np.ndarray,
    of_b: np.ndarray,
    counts: np.ndarray,
    ties: bool,
) -> None:
    """Fill counts (S_a, S_b, bins, bins) for the pairs where a's unit is mostly in the special bin.

    Skips pairs where b's unit is even less active, and pairs of equally active units unless ``ties``.
    """
    samples, bins = codes_a.shape[1], counts.shape[2]
    tables = np.empty((4, bins * bins), np.int32)
    offsets, places = np.empty(samples // 2 + 1, np.uint16), np.empty(samples // 2 + 1, np.uint32)
    for i in range(len(codes_a)):
        idle = of_a[i, 0]
        # Looking up the partner's code costs about as much as counting, so it pays only if half the samples or
        # more need not be counted.
        if 2 * idle <= samples:
            continue
        found = 0
        for k in range(samples):  # no branch: it would often be mispredicted
            places[found] = k
            offsets[found] = codes_a[i, k] * bins
            found += codes_a[i, k] != 0
        for j in range(len(codes_b)):
            if idle < of_b[j, 0] or (idle == of_b[j, 0] and not ties):
                continue
            tables[:] = 0
            _add_listed(offsets[:found], places[:found], codes_b[j], tables)
            joint = counts[i, j]
            _add_tables(tables, joint)
            for y in range(bins):
                joint[0, y] = of_b[j, y] - joint[1:, y].sum()


@njit(cache=True, nogil=True)
def _add_tables(tables: np.ndarray, joint: np.ndarray) -> None:
    """Fill joint, row by row, with the sum of the four tables."""
    for x in range(joint.shape[0]):
        for y in range(joint.shape[1]):
            cell = x * joint.shape[1] + y
            joint[x, y] = tables[0, cell] + tables[1, cell] + tables[2, cell] + tables[3, cell]


@njit(cache=True, nogil=True)
def _marginals(codes: np.ndarray, bins: int) -> np.ndarray:
    """Counts (S, bins) int32 of every code of every unit."""
    counts = np.empty((len(codes), 1, bins), np.int32)
    tables = np.empty((4, bins), np.int32)
    cells = np.empty(CELLS_AT_ONCE, np.uint16)
    first_row = np.zeros(codes.shape[1], np.uint16)
    for i in range(len(codes)):
        tables[:] = 0
        _add_all(first_row, codes[i], cells, tables)
        _add_tables(tables, counts[i])
    return counts[:, 0]


@njit(cache=True, nogil=True)
def _add_all(offsets: np.ndarray, codes: np.ndarray, cells: np.ndarray, tables: np.ndarray) -> None:
    """Count every sample in the cell given by the row offset of one unit plus the code of the other."""
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    # Vector instructions compute the cell numbers; they are read back four at a time, as one 64-bit word.
    words = cells.view(np.uint64)
    low = np.uint64(0xFFFF)
    for start in range(0, len(codes), CELLS_AT_ONCE):
        size = min(CELLS_AT_ONCE, len(codes) - start)
        some_offsets, some_codes = offsets[start : start + size], codes[start : start + size]
        for k in range(size):
            cells[k] = some_offsets[k] + np.uint16(some_codes[k])
        for k in range(size // 4):
            word = words[k]
            first[word & low] += np.int32(1)
            second[(word >> np.uint64(16)) & low] += np.int32(1)
            third[(word >> np.uint64(32)) & low] += np.int32(1)
            fourth[word >> np.uint64(48)] += np.int32(1)
        for k in range(size - size % 4, size):
            first[cells[k]] += np.int32(1)


@njit(cache=True, nogil=True)
def _add_listed(offsets: np.ndarray, places: np.ndarray, codes: np.ndarray, tables: np.ndarray) -> None:
    """Count only the samples at ``places``, with the given row offsets."""
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    fours = len(places) // 4
    offset, place = offsets[: 4 * fours].reshape(fours, 4), places[: 4 * fours].reshape(fours, 4)
    for k in range(fours):
        first[offset[k, 0] + codes[place[k, 0]]] += np.int32(1)
        second[offset[k, 1] + codes[place[k, 1]]] += np.int32(1)
        third[offset[k, 2] + codes[place[k, 2]]] += np.int32(1)
        fourth[offset[k, 3] + codes[place[k, 3]]] += np.int32(1)
    for k in range(4 * fours, len(places)):
        first[offsets[k] + codes[places[k]]] += np.int32(1)
