"""Similarities of a layer's units and both matchings of every pair of networks (paper, section 3)."""

from __future__ import annotations

import numpy as np

from raycv.analysis.matching import Matching, bipartite_matching, inverse, semi_matching
from raycv.stages.align.chance import Layer, Similarities
from raycv.stages.collect.statistics import Statistics

Pairs = dict[tuple[int, int, str], Matching]  # (net a, net b, method)


def informations(found: Statistics, layer: Layer, name: str) -> dict[str, Similarities]:
    """Mutual information of every pair of networks a <= b: value, value_corrected, null_value; NaN where left out.

    ``name`` is that of ``layer``. null_value: with samples of different images, NaN within a network.
    """
    result: dict[str, Similarities] = {"value": {}, "value_corrected": {}, "null_value": {}}
    shuffled = layer.by_chance("shuffled", information=True)
    for a in layer.networks:
        for b in layer.networks[a:]:
            arrays = found.information(name, a, b)
            undefined = layer.left_out[a][:, None] | layer.left_out[b]
            for column, values in (("value", arrays["value"]), ("value_corrected", arrays["corrected"])):
                result[column][a, b] = np.where(undefined, np.nan, values)
            result["null_value"][a, b] = shuffled.get((a, b), np.full(undefined.shape, np.nan))
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
