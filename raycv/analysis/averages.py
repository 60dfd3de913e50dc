"""Averages over the units that are not dead."""

from __future__ import annotations

import math

import numpy as np

from raycv.analysis.arrays import Floats


def mean(values: Floats) -> float:
    """The mean of the entries that are not NaN; NaN if all are NaN."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else math.nan


def quartiles(values: Floats) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of the entries that are not NaN; NaN if all are NaN."""
    found = values[~np.isnan(values)]
    lower, median, upper = np.quantile(found, [0.25, 0.5, 0.75]).tolist() if len(found) else [math.nan] * 3
    return lower, median, upper
