"""Mean activations of the units of one layer, within and between nets (paper, S.4, figures 17 to 19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ActivityRanking:
    """One net's curve of figure 17.

    ``units`` (S,): unit numbers by falling mean activation; ties: the lower number first. ``means`` (S,): the
    means in that order. ``silent``: the units that never fire (mean 0), which come last.
    """

    units: NDArray[np.int64]
    means: NDArray[np.float64]
    silent: NDArray[np.int64]

    def most_active(self, count: int) -> NDArray[np.int64]:
        """Numbers of the ``count`` most active units, the most active first; fewer if fewer units fire."""
        return self.units[: len(self.units) - len(self.silent)][:count]

    def least_active(self, count: int) -> NDArray[np.int64]:
        """Numbers of the ``count`` least active units that fire at all, the least active last."""
        return self.units[: len(self.units) - len(self.silent)][::-1][:count][::-1]


@dataclass(frozen=True)
class ActivitySpread:
    """How much mean activations vary between the units of a net and between N nets, without silent units.

    ``highest`` and ``lowest`` (N,): the largest and smallest mean of each net. ``decades`` (N,): log10 of
    their ratio. ``rank_ratio`` (R,): at each rank, highest first, the largest of the nets' means divided by the
    smallest. R is the smallest number of units that fire in a net; a net with more contributes R evenly spaced
    quantiles. ``distance`` (N, N): the 1-Wasserstein distance between the nets' distributions of log10 mean, in
    decades.
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
    """Order the units of one layer of one net by mean activation ``means`` (S,) over samples (and positions).

    Raises ValueError unless the means are finite and not negative, as they are after a ReLU.
    """
    values = _checked(means)
    units = np.argsort(-values, kind="stable")
    return ActivityRanking(units, values[units], np.flatnonzero(values == 0))


def activity_spread(means: Sequence[NDArray[np.floating]]) -> ActivitySpread:
    """Spread statistics of one layer of N nets from the mean activations (S_n,) of each; widths may differ.

    Raises ValueError for means that are negative or not finite, and for a net in which no unit fires.
    """
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
