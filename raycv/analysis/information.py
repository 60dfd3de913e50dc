"""Mutual information between units, estimated from joint histograms of activations (paper, section 3.2).

Each unit has its own bins, percentile bins that each hold ``bin_mass`` of the unit's samples. A rectified unit also has
the special bin (-inf, zero] of the paper's footnote 8, for the samples near 0; percentile edges not above ``zero``
merge with it. A unit is rectified here that is never negative and is at its minimum in half or more of the samples up
to ``zero``; others, such as those of a GELU, membrane potentials or probabilities, would have most of what they say in
one bin. Each sample is replaced by the number of its bin, one byte. After that, all work is exact counting.

    edges = bin_edges(samples)                     once, from all samples of a layer
    codes = encode(samples, edges)                 shard by shard, or all at once
    counts = joint_histograms(codes, codes, bins)  integers, which can be added over shards
    information(counts)

``pairwise_information(codes, codes, bins)`` does the last two steps for all samples without holding all counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from raycv.analysis.histograms import MAX_BINS, Codes, joint_histograms, product_histograms
from raycv.analysis.threads import threads
from raycv.extras import needed

with needed():
    from numba import njit

if TYPE_CHECKING:
    from torch import Tensor

BIN_MASS = 0.05  # of the marginal, in each percentile bin (paper, footnote 8)
BINS = round(1 / BIN_MASS) + 1  # the percentile bins and the special one
UNITS_AT_ONCE = 64  # units sorted or coded together
# Units on each side of a tile of pairs. A CPU tile's codes and counts (7 MB for 21 bins) stay in cache. A GPU
# needs large products (115 MB of counts).
CPU_TILE, GPU_TILE = 64, 256
ENCODED_AT_ONCE = 4096


class MutualInformation(NamedTuple):
    """Mutual information of every pair of units, in nats.

    Attributes
    ----------
    value : ndarray of shape (S_a, S_b), float64
        Σ p(x, y) log(p(x, y) / (p(x) p(y))), where p are the counted fractions. It is never negative, and exactly 0 if
        all samples of a unit are in one bin. For independent units it is too large by about (bins - 1)² / 2n.
    corrected : ndarray of shape (S_a, S_b), float64
        value + (m_a + m_b - m_ab - 1) / 2n, where m_a and m_b are the numbers of bins, and m_ab the number of cells,
        that hold a sample. This corrects the three entropies as in Miller (1955), "Note on the bias of information
        estimates". It may be negative.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import estimate_information
    >>> a, b = np.random.default_rng(0).standard_normal((2, 2000, 1))            # independent
    >>> found = estimate_information(a, b)
    >>> bool(0.05 < found.value[0, 0] < 0.2), bool(abs(found.corrected[0, 0]) < 0.03)
    (True, True)
    """

    value: np.ndarray
    corrected: np.ndarray


def mutual_information(
    samples_a: np.ndarray, samples_b: np.ndarray, *, bin_mass: float = BIN_MASS, zero: float = 1e-6
) -> np.ndarray:
    """Estimate the mutual information of every unit of a with every unit of b (paper, section 3.2).

    Each unit has bins of its own: percentile bins, and for a unit that is rectified the special bin (-inf, zero] of the
    paper's footnote 8. Equal to ``sklearn.metrics.mutual_info_score`` of the units' bins; `estimate_information` also
    gives the corrected value.

    Parameters
    ----------
    samples_a : ndarray of shape (n, S_a)
        Activations; a sample is an image and, in a convolutional layer, a position.
    samples_b : ndarray of shape (n, S_b)
        Activations in the same samples.
    bin_mass : float, default 0.05
        The share of the samples in each percentile bin, 1 / m for a whole number m from 1 to 255.
    zero : float, default 1e-6
        The largest activation that counts as zero. A unit is rectified that is never negative and is at its minimum in
        half or more of the samples up to it.

    Returns
    -------
    ndarray of shape (S_a, S_b), float64
        In nats; 0 for constant units.

    Raises
    ------
    ValueError
        For samples that are not a table of finite numbers, for tables of different length, and for another
        ``bin_mass``.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import mutual_information
    >>> x = np.linspace(-1, 1, 2000)[:, None]
    >>> round(float(mutual_information(x, x**2, bin_mass=0.1)[0, 0]), 2)         # which have no correlation
    1.61
    """
    return estimate_information(samples_a, samples_b, bin_mass=bin_mass, zero=zero).value


def estimate_information(
    samples_a: np.ndarray, samples_b: np.ndarray, *, bin_mass: float = BIN_MASS, zero: float = 1e-6
) -> MutualInformation:
    """Estimate mutual information as `mutual_information` does, with the Miller–Madow corrected value beside it.

    Parameters
    ----------
    samples_a : ndarray of shape (n, S_a)
        As in `mutual_information`.
    samples_b : ndarray of shape (n, S_b)
        As in `mutual_information`.
    bin_mass : float, default 0.05
        As in `mutual_information`.
    zero : float, default 1e-6
        As in `mutual_information`.

    Returns
    -------
    MutualInformation
        In nats.

    Raises
    ------
    ValueError
        As `mutual_information`.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import estimate_information
    >>> rectified = np.array([[0.0], [0.0], [1.0], [1.0]])
    >>> found = estimate_information(rectified, rectified, bin_mass=0.5)
    >>> round(float(found.value[0, 0]), 3), round(float(found.corrected[0, 0]), 3)     # log 2, and 1 / 2n more
    (0.693, 0.818)
    """

    def code(samples: np.ndarray) -> np.ndarray:
        return encode(samples, bin_edges(samples, bin_mass=bin_mass, zero=zero))

    codes_a = code(samples_a)
    codes_b = codes_a if samples_b is samples_a else code(samples_b)
    return pairwise_information(codes_a, codes_b, _percentile_bins(bin_mass) + 1)


def bin_edges(samples: np.ndarray, *, bin_mass: float = BIN_MASS, zero: float = 1e-6) -> np.ndarray:
    """The ascending upper edges (S, 1/bin_mass) float64 of all bins except the last, for samples (samples, S).

    A bin excludes its lower edge and includes its upper edge. The first is the special bin (-inf, zero] of rectified
    units (see above), and empty for others. Percentile edge m is the smallest sample with at least m·bin_mass of the
    samples at or below it (``numpy.quantile``, method "inverted_cdf"), of a rectified unit ``zero`` if that is larger.
    A bin between equal edges is empty. Raises ValueError as `estimate_information` does.
    """
    bins = _percentile_bins(bin_mass)
    if np.isnan(zero):
        raise ValueError("zero is NaN; it must be the largest activation that counts as zero, such as 1e-6")
    samples = _table(samples)
    count = len(samples)
    if count == 0:
        raise ValueError("there are no samples to take percentiles of")
    edges = np.empty((samples.shape[1], bins), np.float64)
    # Whole numbers, because 60,000 samples x 3 x 0.05 is slightly above 9,000 in floating point.
    ranks = -(-count * np.arange(1, bins) // bins) - 1
    for units, values in _unit_major(samples):
        values.sort(axis=1)
        lowest = np.where(_are_rectified(values, zero), zero, -np.inf)
        edges[units, 0] = lowest
        edges[units, 1:] = np.maximum(values[:, ranks], lowest[:, None], dtype=np.float64)
    return edges


def _are_rectified(values: np.ndarray, zero: float) -> np.ndarray:
    """(S,): the units of sorted values (S, samples) that are never negative and mostly at one value up to ``zero``."""
    small, least = (values <= zero).sum(1), (values == values[:, :1]).sum(1)
    return np.asarray((values[:, 0] >= 0) & (2 * least >= small))


def encode(samples: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin numbers (S, samples) uint8 of samples (samples, S).

    A bin number is the number of the unit's edges below the sample; 0 is the special bin. edges (S, bins - 1)
    come from `bin_edges` for these samples or for a larger set that contains them. Raises ValueError for samples
    that are not a table of finite numbers, or that do not have the same units as the edges.
    """
    samples = _table(samples)
    if edges.ndim != 2 or len(edges) != samples.shape[1] or edges.shape[1] >= MAX_BINS:
        raise ValueError(
            f"edges have shape {edges.shape} and samples {samples.shape}; edges must be (units, at most "
            f"{MAX_BINS - 1}) and samples (samples, units) of the same units"
        )
    codes = np.zeros(samples.shape[::-1], np.uint8)
    for units, values in _unit_major(samples):
        _encode(values, np.ascontiguousarray(edges[units], np.float64), codes[units])
    return codes


def shifted(codes: np.ndarray) -> np.ndarray:
    """Codes (S, samples) rotated by half the samples, so that each is paired with an unrelated sample.

    The information between one network's codes and another's shifted codes is what chance gives. The samples must
    be in random order, such as the ranks of `raycv.data.sampling.choose`. In image order, a class that recurs
    halfway through would be paired with itself again.
    """
    return np.roll(codes, codes.shape[1] // 2, axis=1)


def information(counts: np.ndarray) -> MutualInformation:
    """Mutual information of every pair from its joint counts (S_a, S_b, bins_a, bins_b), which are whole numbers.

    Raises ValueError if counts are not whole numbers, if one is negative, or if they do not add up to the same
    number of samples, at least one, for every pair.
    """
    if counts.ndim != 4 or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(
            f"counts are {counts.dtype} of shape {counts.shape}; they must be integers (S_a, S_b, bins, bins)"
        )
    shape = counts.shape[:2]
    result = MutualInformation(np.empty(shape), np.empty(shape))
    if counts.size == 0:
        return result
    counts = np.ascontiguousarray(counts, np.int32 if counts.dtype == np.int32 else np.int64)
    samples = int(counts[0, 0].sum())
    if samples <= 0:
        raise ValueError(f"the first pair counts {samples} samples; information needs at least one")
    numbers = np.arange(samples + 1.0)
    terms = numbers * np.log(np.maximum(numbers, 1))
    if not _information(counts, terms, *result):
        raise ValueError(
            f"counts are negative or do not add up to {samples} samples for every pair; "
            "merge the counts of the same shards for all pairs"
        )
    return result


def pairwise_information(codes_a: Codes, codes_b: Codes, bins: int) -> MutualInformation:
    """Compute the mutual information of every pair from binned samples, without holding all joint counts.

    Each thread holds the counts of one tile of pairs: at most 4·64²·bins² bytes (7 MB for 21 bins), or 4·256²·bins² for
    torch codes. So two layers of 4,096 units need little more memory than their codes (2 x 246 MB for 60,000 samples)
    and the result (268 MB). Tiles of numpy codes are shared among threads, whose number does not change the result;
    those of torch codes are worked out on their device, to the same result but for rounding.

    Parameters
    ----------
    codes_a : ndarray or Tensor of shape (S_a, n), uint8
        The number of the bin of each sample, unit by unit, below ``bins``.
    codes_b : ndarray or Tensor of shape (S_b, n), uint8
        The same of b. With ``codes_b is codes_a`` each pair is counted once, and the result is exactly symmetric.
    bins : int
        How many bins there are, up to 256.

    Returns
    -------
    MutualInformation
        In nats.

    Raises
    ------
    ValueError
        For codes of another shape, type or range, and if there are no samples.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import pairwise_information
    >>> codes = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], dtype=np.uint8)
    >>> pairwise_information(codes, codes, 2).value.round(3).tolist()
    [[0.693, 0.0], [0.0, 0.693]]
    """
    within = codes_b is codes_a
    size = CPU_TILE if isinstance(codes_a, np.ndarray) else GPU_TILE
    shape = (len(codes_a), len(codes_b))
    result = MutualInformation(np.empty(shape), np.empty(shape))

    def fill(tile: tuple[slice, slice]) -> None:
        rows, columns = tile
        found = _of_tile(codes_a[rows], codes_b[columns], bins)
        for whole, part in zip(result, found, strict=True):
            whole[tile] = part
            if within:
                # In a diagonal tile the two orders of a pair differ in the last bit, so keep the upper triangle.
                whole[columns, rows] = part.T if rows != columns else np.triu(part) + np.triu(part, 1).T

    tiles = [
        (slice(i, i + size), slice(j, j + size))
        for i in range(0, shape[0], size)
        for j in range(i if within else 0, shape[1], size)
    ]
    with ThreadPoolExecutor(threads() if isinstance(codes_a, np.ndarray) else 1) as pool:
        for _ in pool.map(fill, tiles):
            pass
    return result


def _of_tile(codes_a: Codes, codes_b: Codes, bins: int) -> MutualInformation:
    if not (isinstance(codes_a, np.ndarray) or isinstance(codes_b, np.ndarray)):
        return _information_on_device(product_histograms(codes_a, codes_b, bins))
    return information(joint_histograms(codes_a, codes_b, bins))


def _information_on_device(counts: Tensor) -> MutualInformation:
    """`information` of counts, of one pair at least, where they are; they are those of codes and not checked again."""
    with needed():
        import torch

    of_a, of_b = counts.sum(3), counts.sum(2)
    samples = int(of_a[0, 0].sum())
    if not samples:
        raise ValueError("there are no samples; information needs at least one")
    numbers = torch.arange(samples + 1, dtype=torch.float64, device=counts.device)
    terms = numbers * numbers.clamp(min=1).log()
    total = terms[counts].sum((2, 3)) - terms[of_a].sum(2) - terms[of_b].sum(2)
    bins_a, bins_b, cells = ((held > 0).flatten(2).sum(2) for held in (of_a, of_b, counts))
    plain = ((total + terms[samples]) / samples).clamp(min=0) * ((bins_a > 1) & (bins_b > 1))
    corrected = plain + (bins_a + bins_b - cells - 1).double() / (2 * samples)
    return MutualInformation(plain.cpu().numpy(), corrected.cpu().numpy())


def _percentile_bins(bin_mass: float) -> int:
    bins = round(1 / bin_mass) if bin_mass > 0 else 0
    if not 1 <= bins < MAX_BINS or abs(bins * bin_mass - 1) > 1e-9:
        raise ValueError(f"bin_mass is {bin_mass}; it must be 1 / n for a whole number n from 1 to {MAX_BINS - 1}")
    return bins


def _table(samples: np.ndarray) -> np.ndarray:
    """The samples (samples, S) as float32 or float64."""
    samples = np.asarray(samples)
    if samples.ndim != 2 or samples.dtype.kind not in "biuf":
        raise ValueError(f"samples are {samples.dtype} of shape {samples.shape}; they must be numbers (samples, units)")
    if not np.isfinite(samples).all():
        raise ValueError("samples hold NaN or infinite values; every activation must be finite")
    return samples.astype(np.result_type(samples, np.float32), copy=False)


def _unit_major(samples: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield a few units at a time, as a copy (units, samples)."""
    for start in range(0, samples.shape[1], UNITS_AT_ONCE):
        units = slice(start, start + UNITS_AT_ONCE)
        yield units, samples[:, units].T.copy()


@njit(cache=True, nogil=True)
def _encode(values: np.ndarray, edges: np.ndarray, codes: np.ndarray) -> None:
    """Add to codes (S, samples) the number of edges (S, bins - 1) below each of values (S, samples)."""
    for i in range(len(values)):
        for start in range(0, values.shape[1], ENCODED_AT_ONCE):
            part = slice(start, start + ENCODED_AT_ONCE)
            value, code = values[i, part], codes[i, part]
            for edge in edges[i]:
                for k in range(len(value)):
                    code[k] += np.uint8(value[k] > edge)


@njit(cache=True, nogil=True)
def _information(counts: np.ndarray, terms: np.ndarray, value: np.ndarray, corrected: np.ndarray) -> bool:
    """Fill value and corrected (S_a, S_b); return False for bad counts. terms[n] = n log n, up to all samples.

    With N samples, I = log N + (Σ n_xy log n_xy - Σ n_x log n_x - Σ n_y log n_y) / N.
    """
    samples = len(terms) - 1
    of_a, of_b = np.empty(counts.shape[2], np.int64), np.empty(counts.shape[3], np.int64)
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            of_a[:] = 0
            of_b[:] = 0
            lowest = 0
            for x in range(len(of_a)):
                for y in range(len(of_b)):
                    count = counts[i, j, x, y]
                    lowest = min(lowest, count)
                    of_a[x] += count
                    of_b[y] += count
            if lowest < 0 or of_a.sum() != samples:
                return False
            total = 0.0
            cells = 0
            for x in range(len(of_a)):
                for y in range(len(of_b)):
                    count = counts[i, j, x, y]
                    total += terms[count]
                    cells += count > 0
            for count in of_a:
                total -= terms[count]
            for count in of_b:
                total -= terms[count]
            bins_a, bins_b = np.count_nonzero(of_a), np.count_nonzero(of_b)
            plain = 0.0
            if bins_a > 1 and bins_b > 1:
                plain = max(0.0, (total + terms[samples]) / samples)
            value[i, j] = plain
            corrected[i, j] = plain + (bins_a + bins_b - cells - 1) / (2.0 * samples)
    return True
