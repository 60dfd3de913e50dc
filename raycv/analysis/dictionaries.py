"""Which features of one sparse dictionary another one has: by where both are active, and by their directions.

The features of a sparse autoencoder are active in few samples, so that the products of all features of two
dictionaries come from the samples in which both are active: the time goes with these, not with the product of the
numbers of features, and no matrix of all pairs is kept.

Rotations are no null here: a dictionary does not see the basis of its network, and one of a rotated network has the
same features. Chance is told by pairing documents at random, and a ceiling by a second dictionary of the same network.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raycv.analysis.arrays import Floats
from raycv.analysis.draws import DRAWS
from raycv.analysis.matching import Matching, semi_matching
from raycv.analysis.significance import FALSE_DISCOVERIES, pooled_p_values, q_values
from raycv.analysis.threads import threads
from raycv.extras import needed

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FEWEST_DRAWS = 3
AT_ONCE = 2**24  # cosines at once
CHUNK = 64  # features of a that a thread takes at a time


@dataclass(frozen=True)
class FeaturePartners:
    """For every feature of a the feature of b of largest correlation, and whether chance would give as much.

    Attributes
    ----------
    columns : ndarray of shape (F_a,), int64
        Its number; -1 for features that correlate with none above 0.
    values : ndarray of shape (F_a,)
        The correlation; NaN where there is no partner, here and below.
    null : ndarray of shape (K, F_a)
        The largest correlation with documents paired at random, draw by draw; 0 where there is none.
    p_values : ndarray of shape (F_a,)
        How often chance gives as much.
    q_values : ndarray of shape (F_a,)
        The smallest false discovery rate at which the partner counts.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import random_array
    >>> from raycv.analysis import feature_partners
    >>> a = random_array((5000, 40), density=0.02, rng=np.random.default_rng(0))
    >>> found = feature_partners(a, a[:, ::-1])
    >>> found.columns[:3].tolist(), int(found.found().sum())
    ([39, 38, 37], 40)
    """

    columns: NDArray[np.int64]
    values: Floats
    null: Floats
    p_values: Floats
    q_values: Floats

    def found(self, false_discoveries: float = FALSE_DISCOVERIES) -> NDArray[np.bool_]:
        """Say which features have a partner that counts.

        Parameters
        ----------
        false_discoveries : float, default 0.05
            The rate of those that count by chance among all that count.

        Returns
        -------
        ndarray of shape (F_a,), bool
            False for features without a partner.
        """
        return self.q_values <= false_discoveries


def feature_partners(
    a: Any, b: Any, *, documents: ArrayLike | None = None, draws: int = DRAWS, seed: int = 0
) -> FeaturePartners:
    """Find the partner in b of each feature of a, by the correlation of their activations in the same samples.

    It takes 1 + ``draws`` times as long as the products of what is active in the same samples, and the memory of the
    activations. Each draw puts the documents of b in random order and pairs samples in the order in which they then
    stand, so that what depends on each other stays together.

    Parameters
    ----------
    a : sparse array of shape (n, F_a)
        Activations of one dictionary, as SciPy's sparse arrays have them.
    b : sparse array of shape (n, F_b)
        Of another one in the same samples in the same order.
    documents : array_like of shape (n,), optional
        To which document each sample belongs; those of one stand together. None: each sample is independent.
    draws : int, default 25
        How many times documents are paired at random, 3 or more.
    seed : int, default 0
        Fixes the draws.

    Returns
    -------
    FeaturePartners
        With NaN for features that have no partner.

    Raises
    ------
    ValueError
        For other shapes, activations that are not finite, documents that are apart or fewer than two, and fewer draws.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import random_array
    >>> from raycv.analysis import feature_partners
    >>> rngs = [np.random.default_rng(seed) for seed in (0, 1)]
    >>> a, b = (random_array((5000, 40), density=0.02, rng=rng) for rng in rngs)      # nothing in common
    >>> int(feature_partners(a, b).found().sum())
    0
    """
    first, second = _checked("a", a), _checked("b", b)
    if first.shape[0] != second.shape[0]:
        raise ValueError(f"a has {first.shape[0]:,} samples and b {second.shape[0]:,}; give the same ones")
    if draws < FEWEST_DRAWS:
        raise ValueError(f"draws is {draws}; it must be {FEWEST_DRAWS} or more")
    blocks = _blocks(first.shape[0], documents)
    search = _Search(first, second)
    columns, values = search.best(np.arange(first.shape[0]))
    rng = np.random.default_rng(seed)
    null = np.stack(
        [search.best(np.concatenate([blocks[n] for n in rng.permutation(len(blocks))]))[1] for _ in range(draws)]
    )
    values = np.where(columns < 0, np.nan, values)
    p_values = pooled_p_values(values, null)
    return FeaturePartners(columns, values, null, p_values, q_values(p_values))


def decoder_partners(a: ArrayLike, b: ArrayLike) -> Matching:
    """Match each feature of a to the feature of b whose direction is most alike, by cosine.

    The mean of the values is the mean maximum cosine by which dictionaries of one network are compared ("PW-MCC").
    Directions of different networks have nothing in common by themselves: those of the same one alone are compared.

    Parameters
    ----------
    a : array_like of shape (F_a, d)
        Decoder directions, one a row, as each feature is written into the d dimensions of a layer.
    b : array_like of shape (F_b, d)
        Of another dictionary of the same layer.

    Returns
    -------
    Matching
        Of features without a direction, whose row is 0, there is no partner.

    Raises
    ------
    ValueError
        For other shapes, and for directions that are not finite.

    Examples
    --------
    >>> from raycv.analysis import decoder_partners
    >>> found = decoder_partners([[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [1.0, 1.0]])
    >>> found.columns.tolist(), found.values.round(3).tolist()
    ([1, 0], [0.707, 1.0])
    """
    first, second = (np.asarray(one, dtype=np.float64) for one in (a, b))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"decoders are (F_a, d) and (F_b, d), found {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("decoder directions must be finite")
    unit, other = (_unit_rows(one) for one in (first, second))
    step = max(1, AT_ONCE // max(1, len(other)))
    parts = [semi_matching(unit[start : start + step] @ other.T) for start in range(0, len(unit), step)]
    if not parts:
        return Matching(np.empty(0, np.int64), np.empty(0))
    return Matching(np.concatenate([part.columns for part in parts]), np.concatenate([part.values for part in parts]))


def _unit_rows(directions: Floats) -> Floats:
    """Of length 1; NaN for rows of length 0."""
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    unit: Floats = directions / np.where(lengths > 0, lengths, np.nan)
    return unit


def _checked(name: str, activations: Any) -> csr_array:
    with needed():
        from scipy.sparse import csr_array

    found = csr_array(activations, dtype=np.float64)
    if found.ndim != 2 or not all(found.shape):
        raise ValueError(f"{name} must be (samples, features) with some of both, found shape {found.shape}")
    if not np.isfinite(found.data).all():
        raise ValueError(f"the activations of {name} are not all finite")
    return found


def _blocks(samples: int, documents: ArrayLike | None) -> list[NDArray[np.int64]]:
    """The samples of each document."""
    if documents is None:
        return list(np.arange(samples)[:, None])
    names = np.asarray(documents)
    if names.shape != (samples,):
        raise ValueError(f"documents has shape {names.shape}, and there are {samples:,} samples")
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    if len(starts) < 2 or len(np.unique(names)) != len(starts):
        found = "one" if len(starts) < 2 else "some that are apart"
        raise ValueError(f"documents must be two or more, the samples of each together; found {found}")
    return np.split(np.arange(samples), starts[1:])


class _Search:
    """Finds the best feature of b for each of a, however samples are paired."""

    def __init__(self, a: csr_array, b: csr_array) -> None:
        by_column = a.tocsc()
        self._a = (by_column.indptr, by_column.indices, by_column.data)
        self._b = (b.indptr, b.indices, b.data)
        self._centres = (np.asarray(a.mean(0)).ravel(), np.asarray(b.mean(0)).ravel())
        self._scales = (_scales(a, self._centres[0]), _scales(b, self._centres[1]))

    def best(self, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
        """Numbers (F_a,), -1 for none, and correlations, 0 for none; sample n of a is sample ``order[n]`` of b."""
        from raycv.analysis.dictionary_kernels import best_of_each

        features = len(self._centres[0])
        columns, values = np.empty(features, np.int64), np.empty(features)

        def chunk(start: int) -> None:
            span = (start, min(start + CHUNK, features))
            best_of_each(span, self._a, self._b, order, self._centres, self._scales, columns, values)

        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(chunk, range(0, features, CHUNK)))
        return columns, values


def _scales(activations: csr_array, means: Floats) -> Floats:
    """1 / deviation of every feature, 0 for those that are constant."""
    variance = np.asarray(activations.multiply(activations).mean(0)).ravel() - means**2
    is_live = variance > 1e-12 * means**2
    found: Floats = np.where(is_live, 1, 0) / np.sqrt(np.where(is_live, variance, 1))
    return found
