"""Joint histograms of coded samples: how often two units showed each pair of codes, as exact integers.

On a CPU a histogram is counted, sample by sample. Consecutive samples go to four tables in turn, because
adding twice to one counter in a row waits for the first sum to be stored; four tables of 21 x 21 counters
stay in the first-level cache. Where most of a unit's samples are in the special bin, only the others are
counted and the special row follows from the partner's marginal counts. On another device a histogram is a
matrix product of one-hot codes.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

Codes = np.ndarray | Tensor  # (S, samples) uint8, one row per unit

MAX_BINS = 256  # codes are bytes, and cell numbers below 256² fit 16 bits
CELLS_AT_ONCE = 2048
# Counts up to 2,048 are exact in float16 whatever the accumulator of the product, so 2,048 samples are one
# product.
SAMPLES_PER_PRODUCT = 2048


def joint_histograms(codes_a: Codes, codes_b: Codes, bins: int) -> np.ndarray:
    """Joint counts (S_a, S_b, bins, bins) int32 of every unit of ``codes_a`` with every unit of ``codes_b``.

    codes_a (S_a, samples) and codes_b (S_b, samples) are uint8 below ``bins``; entry [i, j, x, y] is the
    number of samples with code x in unit i of a and y in unit j of b, equal to
    ``numpy.histogram2d(codes_a[i], codes_b[j], bins=[range(bins + 1)] * 2)``. Counts of disjoint sets of
    samples, such as shards, add up to the counts of all of them, in any order.

    numpy codes are counted on the calling thread with the interpreter's lock released; torch codes on their
    device. Memory is 4·S_a·S_b·bins² bytes: `raycv.analysis.information.pairwise_information` never holds
    more than tiles. Raises ValueError for codes of another shape, type or range.
    """
    _check(codes_a, codes_b, bins)
    if isinstance(codes_a, Tensor) and isinstance(codes_b, Tensor):
        return _product_histograms(codes_a, codes_b, bins).cpu().numpy()
    counts = np.empty((len(codes_a), len(codes_b), bins, bins), np.int32)
    _count(np.ascontiguousarray(codes_a), np.ascontiguousarray(codes_b), counts)
    return counts


def _check(codes_a: Codes, codes_b: Codes, bins: int) -> None:
    if not 1 <= bins <= MAX_BINS:
        raise ValueError(f"bins is {bins}; it must be from 1 to {MAX_BINS}")
    if isinstance(codes_a, Tensor) != isinstance(codes_b, Tensor):
        raise ValueError("codes of the two sides must both be numpy arrays or both torch tensors")
    for side, codes in (("a", codes_a), ("b", codes_b)):
        if codes.ndim != 2 or codes.dtype not in (np.dtype(np.uint8), torch.uint8):
            raise ValueError(
                f"codes_{side} are {codes.dtype} of shape {tuple(codes.shape)}; "
                "they must be uint8 (units, samples)"
            )
        if 0 not in codes.shape and int(codes.max()) >= bins:
            raise ValueError(f"codes_{side} holds code {int(codes.max())}, but there are only {bins} bins")
    if codes_a.shape[1] != codes_b.shape[1]:
        raise ValueError(
            f"codes_a has {codes_a.shape[1]} samples and codes_b {codes_b.shape[1]}; samples must be paired"
        )


def _product_histograms(codes_a: Tensor, codes_b: Tensor, bins: int) -> Tensor:
    """The same counts (S_a, S_b, bins, bins), on the tensors' device, by products of one-hot codes."""
    counts = torch.zeros(len(codes_a) * bins, len(codes_b) * bins, dtype=torch.int32, device=codes_a.device)
    for start in range(0, codes_a.shape[1], SAMPLES_PER_PRODUCT):
        part = slice(start, start + SAMPLES_PER_PRODUCT)
        counts += (_one_hot(codes_a[:, part], bins) @ _one_hot(codes_b[:, part], bins).T).int()
    return counts.view(len(codes_a), bins, len(codes_b), bins).transpose(1, 2).contiguous()


def _one_hot(codes: Tensor, bins: int) -> Tensor:
    """(S·bins, samples) float16: 1 where a unit's sample has the row's code."""
    each = torch.arange(bins, dtype=torch.uint8, device=codes.device)
    return (codes[:, None, :] == each[:, None]).half().view(-1, codes.shape[1])


@njit(cache=True, nogil=True)
def _count(codes_a: np.ndarray, codes_b: np.ndarray, counts: np.ndarray) -> None:
    """Fill counts (S_a, S_b, bins, bins)."""
    samples, bins = codes_a.shape[1], counts.shape[2]
    tables = np.empty((4, bins * bins), np.int32)
    cells = np.empty(CELLS_AT_ONCE, np.uint16)
    offsets = np.empty(samples, np.uint16)
    places = np.empty(samples, np.uint32)
    marginals = _marginals(codes_b, bins)
    for i in range(len(codes_a)):
        row = codes_a[i]
        active = np.count_nonzero(row)
        # Looking up the partner's code costs about as much as counting: it pays below half.
        sparse = 2 * active < samples
        if sparse:
            _list_active(row, bins, offsets, places)
        else:
            for k in range(samples):
                offsets[k] = row[k] * bins
        for j in range(len(codes_b)):
            tables[:] = 0
            if sparse:
                _add_listed(offsets[:active], places[:active], codes_b[j], tables)
            else:
                _add_all(offsets, codes_b[j], cells, tables)
            joint = counts[i, j].reshape(-1)
            for cell in range(bins * bins):
                joint[cell] = tables[0, cell] + tables[1, cell] + tables[2, cell] + tables[3, cell]
            if sparse:
                for y in range(bins):
                    joint[y] = marginals[j, y] - counts[i, j, 1:, y].sum()


@njit(cache=True, nogil=True)
def _marginals(codes: np.ndarray, bins: int) -> np.ndarray:
    """Counts (S, bins) of every code of every unit."""
    counts = np.zeros((len(codes), bins), np.int32)
    for i in range(len(codes)):
        for code in codes[i]:
            counts[i, code] += 1
    return counts


@njit(cache=True, nogil=True)
def _list_active(row: np.ndarray, bins: int, offsets: np.ndarray, places: np.ndarray) -> None:
    """Fill in the places of codes (samples,) above 0 and the row offsets, code x bins, of those."""
    found = 0
    for k in range(len(row)):
        if row[k] != 0:
            places[found] = k
            offsets[found] = row[k] * bins
            found += 1


@njit(cache=True, nogil=True)
def _add_all(offsets: np.ndarray, codes: np.ndarray, cells: np.ndarray, tables: np.ndarray) -> None:
    """Count every sample: cell = row offset of one unit + code of the other."""
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    # Cell numbers are added with vector instructions and read back four at a time, as one 64-bit word.
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
    """Count only the samples at ``places``, whose row offsets are given."""
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
