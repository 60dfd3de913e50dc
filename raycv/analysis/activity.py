"""Mean activations of the units of one layer, within and between nets (paper, S.4, figures 17 to 19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raycv.extras import needed


@dataclass(frozen=True)
class ActivityRanking:
    """One net's curve of the paper's figure 17, from `activity_ranking`.

    Attributes
    ----------
    units : ndarray of shape (S,), int64
        Unit numbers by falling mean activation; ties: the lower number first.
    means : ndarray of shape (S,)
        The means in that order.
    silent : ndarray, int64
        The units that never fire (mean 0), which come last.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import activity_ranking
    >>> ranking = activity_ranking(np.array([0.0, 3.0, 1.0, 2.0]))
    >>> ranking.most_active(2).tolist(), ranking.least_active(2).tolist(), ranking.silent.tolist()
    ([1, 3], [3, 2], [0])
    """

    units: NDArray[np.int64]
    means: NDArray[np.float64]
    silent: NDArray[np.int64]

    def most_active(self, count: int) -> NDArray[np.int64]:
        """Number the most active units.

        Parameters
        ----------
        count : int
            How many.

        Returns
        -------
        ndarray, int64
            The most active first; fewer if fewer units fire.
        """
        return self.units[: len(self.units) - len(self.silent)][:count]

    def least_active(self, count: int) -> NDArray[np.int64]:
        """Number the least active units that fire at all.

        Parameters
        ----------
        count : int
            How many.

        Returns
        -------
        ndarray, int64
            The least active last; fewer if fewer units fire.
        """
        return self.units[: len(self.units) - len(self.silent)][::-1][:count][::-1]


@dataclass(frozen=True)
class ActivitySpread:
    """How much mean activations vary between the units of a net and between N nets, without silent units.

    Attributes
    ----------
    highest, lowest : ndarray of shape (N,)
        The largest and smallest mean of each net.
    decades : ndarray of shape (N,)
        log10 of their ratio.
    rank_ratio : ndarray of shape (R,)
        At each rank, highest first, the largest of the nets' means divided by the smallest. R is the smallest number of
        units that fire in a net; a net with more contributes R evenly spaced quantiles.
    distance : ndarray of shape (N, N)
        The 1-Wasserstein distance between the nets' distributions of log10 mean, in decades.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import activity_spread
    >>> spread = activity_spread([np.array([100.0, 1.0, 0.0]), np.array([50.0, 1.0])])
    >>> spread.decades.round(2).tolist(), round(spread.top_ratio, 6), round(spread.typical_ratio, 6)
    ([2.0, 1.7], 2.0, 1.5)
    """

    highest: NDArray[np.float64]
    lowest: NDArray[np.float64]
    decades: NDArray[np.float64]
    rank_ratio: NDArray[np.float64]
    distance: NDArray[np.float64]

    @property
    def top_ratio(self) -> float:
        """The factor by which the nets' largest means differ: about 2.5 for the paper's "49 to 120" of conv2."""
        return float(self.rank_ratio[0])

    @property
    def typical_ratio(self) -> float:
        """The median of ``rank_ratio``: the factor by which the nets differ at a typical rank."""
        return float(np.median(self.rank_ratio))


def activity_ranking(means: NDArray[np.floating]) -> ActivityRanking:
    """Order the units of one layer of one net by mean activation (paper, S.4, figure 17).

    Parameters
    ----------
    means : ndarray of shape (S,)
        Over samples, and positions, as after a ReLU.

    Returns
    -------
    ActivityRanking
        The most active first.

    Raises
    ------
    ValueError
        Unless the means are finite and not negative.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import activity_ranking
    >>> activity_ranking(np.array([0.0, 3.0, 1.0, 2.0])).units.tolist()
    [1, 3, 2, 0]
    """
    values = _checked(means)
    units = np.argsort(-values, kind="stable")
    return ActivityRanking(units, values[units], np.flatnonzero(values == 0))


def activity_spread(means: Sequence[NDArray[np.floating]]) -> ActivitySpread:
    """Compute how mean activations of one layer vary within and between nets (paper, S.4, figures 17 to 19).

    Parameters
    ----------
    means : sequence of ndarray of shape (S_n,)
        Of each net; widths may differ.

    Returns
    -------
    ActivitySpread
        Without silent units.

    Raises
    ------
    ValueError
        For means that are negative or not finite, for a net in which no unit fires, and for no net.

    Examples
    --------
    >>> import numpy as np
    >>> from raycv.analysis import activity_spread
    >>> activity_spread([np.array([1.0, 10.0]), np.array([10.0, 100.0])]).distance.round(6).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    with needed():
        from scipy.stats import wasserstein_distance  # which takes a second

    nets = [_checked(net) for net in means]
    logs = [np.log10(net[net > 0]) for net in nets]
    for number, net in enumerate(logs, start=1):
        if not len(net):
            raise ValueError(f"no unit of net {number} fires: all its mean activations are 0, nothing to compare")
    if not logs:
        raise ValueError("no net was given: give the mean activations of at least one")
    ranks = np.linspace(1, 0, min(map(len, logs)))
    curves = np.stack([np.quantile(net, ranks) for net in logs])  # (N, R)
    return ActivitySpread(
        highest=10 ** np.array([net.max() for net in logs]),
        lowest=10 ** np.array([net.min() for net in logs]),
        decades=np.array([np.ptp(net) for net in logs]),
        rank_ratio=10 ** np.ptp(curves, axis=0),
        distance=np.array([[wasserstein_distance(a, b) for b in logs] for a in logs]),
    )


def _checked(means: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(means, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if values.ndim != 1 or len(bad):
        found = f"shape {values.shape}" if values.ndim != 1 else f"{values[bad[0]]} for unit {bad[0]}"
        raise ValueError(f"mean activations must be one finite number >= 0 per unit, as after a ReLU, got {found}")
    return values


def mixtures_left_out(active: NDArray[np.int64], units: int) -> NDArray[np.bool_]:
    """(S,): the least ``active`` mixtures, as many as ``units`` are left out of a network, and those never active."""
    left_out = active == 0
    left_out[np.argsort(active, kind="stable")[:units]] = True
    return np.asarray(left_out)
