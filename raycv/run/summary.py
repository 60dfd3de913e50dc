"""Averages of a table's rows over networks, with intervals that cover the choice of networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raycv.analysis.similarity import jackknife


def over_networks(rows: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """The mean over networks of ``values``, one row for each combination of ``by``, in the order of ``rows``.

    What a network has several rows of, such as random draws, is averaged first. Beside VALUE stand VALUE_low and
    VALUE_high, the 95% jackknife interval over networks (column ``net``); NaN for fewer than three networks.
    """
    of_nets = rows.groupby([*by, "net"], sort=False)[list(values)].mean().reset_index()
    found = []
    for key, group in of_nets.groupby(list(by), sort=False):
        row = dict(zip(by, key, strict=True))
        for value in values:
            nets = group[value].dropna().to_numpy(dtype=np.float64)
            mean = float(nets.mean()) if len(nets) else float("nan")
            without = [np.delete(nets, n).mean() for n in range(len(nets))] if len(nets) > 2 else []
            interval = jackknife(mean, without)
            row |= {value: mean, f"{value}_low": interval.low, f"{value}_high": interval.high}
        found.append(row)
    return pd.DataFrame(found)
