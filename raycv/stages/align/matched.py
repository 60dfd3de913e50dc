"""Similarities of a layer's units and both matchings of every pair of networks (paper, section 3)."""

from __future__ import annotations

import numpy as np

from raycv.analysis.matching import Matching, bipartite_matching, inverse, semi_matching
from raycv.analysis.moments import offsets
from raycv.stages.collect.statistics import Statistics

Similarities = dict[tuple[int, int], np.ndarray]  # networks a <= b -> (S_a, S_b)
Pairs = dict[tuple[int, int, str], Matching]  # (net a, net b, method)


def informations(found: Statistics, layer: str, dead: np.ndarray) -> dict[str, Similarities]:
    """Mutual information of every pair of networks a <= b: value, value_corrected, null_value; NaN where dead."""
    networks = range(len(found.networks))
    result: dict[str, Similarities] = {"value": {}, "value_corrected": {}, "null_value": {}}
    widths = [found.information(layer, n, n)["value"].shape[0] for n in networks]
    bounds = offsets(widths)
    alive = [~dead[bounds[n] : bounds[n + 1]] for n in networks]
    for a in networks:
        for b in networks[a:]:
            arrays = found.information(layer, a, b)
            both = np.outer(alive[a], alive[b])
            for column, name in (("value", "value"), ("value_corrected", "corrected"), ("null_value", "null")):
                values = arrays.get(name, np.full(both.shape, np.nan))
                result[column][a, b] = np.where(both, values, np.nan)
    return result


def match(values: Similarities) -> Pairs:
    """Both matchings for every ordered pair of different networks."""
    pairs: Pairs = {}
    for (a, b), similarity in values.items():
        if a == b:
            continue
        pairs[a, b, "semi"] = semi_matching(similarity)
        pairs[b, a, "semi"] = semi_matching(similarity.T)
        pairs[a, b, "bipartite"] = bipartite_matching(similarity)
        pairs[b, a, "bipartite"] = inverse(pairs[a, b, "bipartite"], similarity.shape[1])
    return pairs
