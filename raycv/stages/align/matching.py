"""Similarities of a layer's units and both matchings of every pair of networks (paper, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raycv.analysis.matching import Matching, bipartite_matching, inverse, semi_matching
from raycv.stages.align.nulls import LayerNulls
from raycv.statistics.reader import Statistics

Pairs = dict[tuple[int, int, str], Matching]  # (net a, net b, method)


def information_of(found: Statistics, layer: LayerNulls, name: str, a: int, b: int) -> dict[str, np.ndarray]:
    """Mutual information of networks a <= b: value, value_corrected, null_value (S_a, S_b); NaN where left out.

    ``name`` is that of ``layer``. null_value: with samples of different images, NaN within a network.
    """
    arrays = found.information(name, a, b)
    undefined = layer.left_out[a][:, None] | layer.left_out[b]
    shuffled = layer.by_chance("shuffled", a, b, information=True) if a < b else None
    return {
        "value": np.where(undefined, np.nan, arrays["value"]),
        "value_corrected": np.where(undefined, np.nan, arrays["corrected"]),
        "null_value": np.full(undefined.shape, np.nan) if shuffled is None else shuffled,
    }


def match(values: Mapping[tuple[int, int], np.ndarray]) -> Pairs:
    """Both matchings for every ordered pair of different networks; ``values`` (S_a, S_b) of pairs a <= b."""
    pairs: Pairs = {}
    for (a, b), similarity in values.items():
        if a == b:
            continue
        pairs[a, b, "semi"] = semi_matching(similarity)
        pairs[b, a, "semi"] = semi_matching(similarity.T)
        pairs[a, b, "bipartite"] = bipartite_matching(similarity)
        pairs[b, a, "bipartite"] = inverse(pairs[a, b, "bipartite"], similarity.shape[1])
    return pairs
