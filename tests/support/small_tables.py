"""Tables of a small run of two networks, from the pure functions that the stages compute them by."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd

from raycv.paper import SPARSE_DECAY
from raycv.stages.align.matching import match
from raycv.stages.clusters.rows import Clustering, LayerCorrelations, clusterings_of_pair
from raycv.stages.mapping.rows import OfPair, PairMapping, mappings_of_pair
from raycv.statistics.folds import LayerStatistics, correlations
from tests.support.runs import moments_of

NETS, WIDTH = ("net1", "net2"), 9
DECAYS = (0.0, 1e-3, SPARSE_DECAY, 0.1)


def folds(seed: int) -> LayerStatistics:
    """Two networks of nine units that follow four hidden causes; unit 8 of net2 is dead."""
    rng = np.random.default_rng(seed)
    causes = rng.standard_normal((600, 4))
    nets = [np.maximum(causes[:, np.arange(WIDTH) % 4] + 0.8 * rng.standard_normal((600, WIDTH)), 0) for _ in NETS]
    nets[1][:, 8] = 0.0
    parts = np.split(np.arange(600), 3)
    return LayerStatistics(tuple(moments_of([net[part] for net in nets]) for part in parts))


def tables_of(layer: str, moments: LayerStatistics) -> dict[str, pd.DataFrame]:
    """The rows of one layer of the tables that the notebooks read, from the pure functions."""
    dead = moments.dead()
    values = correlations(moments.all, dead)
    units = pd.DataFrame(
        {"net": np.repeat(NETS, WIDTH), "unit": [*range(WIDTH)] * 2, "is_dead": dead, "is_rare": False}
    )
    matchings, alignment = [], []
    for (a, b, method), matching in match(values).items():
        about = {"net_a": NETS[a], "net_b": NETS[b], "similarity": "correlation", "method": method}
        columns = {"unit_a": range(WIDTH), "unit_b": matching.columns, "value": matching.values, "q_value": 0.01}
        matchings.append(pd.DataFrame(about | columns))
        mean = float(np.nanmean(matching.values))
        averages = {
            "mean": mean,
            "excess": 0.2,
            "untrained_excess": 0.1,
            "mean_low": mean - 0.1,
            "mean_high": mean + 0.1,
        }
        alignment.append(pd.DataFrame([about | averages | {"units": WIDTH, "best_eight_kept": 8}]))
    frames = {
        "units": [units],
        "matchings": matchings,
        "alignment": alignment,
    }
    for a, b in permutations(range(2)):
        asked = PairMapping(layer, a, b, (NETS[a], NETS[b]), DECAYS, ("exact", "sgd"))
        found = mappings_of_pair(OfPair(moments, {}), asked)
        for name, frame in found.items():
            frames.setdefault(name, []).append(frame)
    clustered = clusterings_of_pair(LayerCorrelations(values, {}), Clustering(layer, 0, 1, NETS, 0.2, None, (5, 7)))
    whole = {name: pd.concat(parts) for name, parts in (frames | {n: [f] for n, f in clustered.items()}).items()}
    return {name: frame.assign(layer=layer) for name, frame in whole.items()}
