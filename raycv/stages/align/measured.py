"""Rows of the table measures: published measures of similarity for every pair of networks.

Every measure has its value by chance beside it. Most are the same, or nearly, after any rotation of a network's units;
by chance they are what untrained networks give. Those that match units are compared with randomly rotated units.

Intervals leave out one fold at a time, and every measure would have to be computed once more for each. Where that takes
long, there is no interval: in layers of more than 1,024 units for all but CKA and the effective dimension, and in
layers of more than 100 units for those matchings that are linear programs where the numbers of units differ. Rotations:
10, but 1 in layers of more than 100 units, where the mean over units varies by some .003 between rotations.

Partial matching matches half of the units, by convention. Its score, the mean correlation matched, cannot choose the
mass: the sum matched is the optimum of a linear program, so it is concave in the mass and 0 without any, and the mean
never rises with the mass. The smallest mass offered would win, up to what the choice of images adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from raycv.analysis.measures.alignment import cross_fold_cka, linear_cka
from raycv.analysis.measures.canonical import mean_cca, pwcca, svcca
from raycv.analysis.measures.covariances import Covariances
from raycv.analysis.measures.prediction import regression_r2
from raycv.analysis.measures.shapes import angular_distance, permutation_procrustes_distance, procrustes_distance
from raycv.analysis.measures.units import (
    hard_correlation_match,
    mixed,
    partial_matching_score,
    soft_correlation_match,
    soft_matching_distance,
)
from raycv.analysis.moments import Moments, merge
from raycv.analysis.nulls import WIDE, effective_dimension, orthonormal
from raycv.analysis.similarity import jackknife
from raycv.stages.align.groups import Group

Measure = Callable[[Covariances], float]
Values = dict[tuple[int, int, str], float]  # by network a, network b and measure

MATCHED = 0.5  # of the units, by partial matching
MEASURES: dict[str, Measure] = {
    "linear_cka": linear_cka,
    "mean_cca": mean_cca,
    "svcca": svcca,
    "pwcca": pwcca,
    "regression_r2": regression_r2,
    "procrustes_distance": lambda c: procrustes_distance(c.normalised),
    "angular_distance": lambda c: angular_distance(c.normalised),
    "permutation_procrustes_distance": lambda c: permutation_procrustes_distance(c.normalised),
}
MATCHING: dict[str, Measure] = {
    "hard_correlation_match": hard_correlation_match,
    "soft_correlation_match": soft_correlation_match,
    "soft_matching_distance": soft_matching_distance,
    "partial_matching_score": partial(partial_matching_score, mass=MATCHED),
}
DIRECTED = ("pwcca", "regression_r2")  # from a to b; all others are symmetric
QUICK = ("linear_cka",)  # in layers of any width
PROGRAMS = ("soft_matching_distance", "partial_matching_score")
NARROW = 100  # units; the programs are quick up to here
ROTATIONS, ROTATIONS_WHEN_WIDER = 10, 1


def measure_rows(layer: str, trained: Group, untrained: Group) -> pd.DataFrame:
    """One row per pair of networks and measure, two for directed measures; and each network's effective dimension."""
    folds = trained.statistics.folds
    found = _values(trained, folds, {**MEASURES, **MATCHING})
    with_interval = {name: measure for name, measure in (MEASURES | MATCHING).items() if _fast(name, trained.width)}
    rest = [[other for other in folds if other is not fold] for fold in folds] if len(folds) > 1 else []
    replicates = [_values(trained, part, with_interval) for part in rest]
    chance = _rotated(trained) | _untrained(trained, untrained, found)
    rows = []
    for key, value in found.items():
        a, b, name = key
        interval = jackknife(value, [replicate.get(key, np.nan) for replicate in replicates])
        about = {"layer_a": layer, "layer_b": layer, "net_a": trained.specs[a].name, "net_b": trained.specs[b].name}
        of_measure = {"measure": name, "value": value, "low": interval.low, "high": interval.high}
        rows.append(about | of_measure | {"null": chance[key]})
    return pd.DataFrame(rows)


def _fast(name: str, width: int) -> bool:
    return name in QUICK or width <= (NARROW if name in PROGRAMS else WIDE)


def _values(group: Group, folds: Sequence[Moments], measures: dict[str, Measure]) -> Values:
    """Over the images of ``folds``, of all pairs of networks a < b, and directed measures also of (b, a).

    The effective dimension of network n is that of (n, n).
    """
    total = reduce(merge, folds)
    values: Values = {}
    for n in range(len(group.specs)):
        values[n, n, "effective_dimension"] = effective_dimension(group.covariances(total, n, n).correlations().a)
    for a, b in combinations(range(len(group.specs)), 2):
        c = group.covariances(total, a, b)
        if len(folds) > 1:
            values[a, b, "debiased_cka"] = cross_fold_cka([group.covariances(fold, a, b) for fold in folds])
        for name, measure in measures.items():
            values[a, b, name] = measure(c)
        for name in DIRECTED:
            if name in measures:
                values[b, a, name] = measures[name](c.reversed())
    return values


def _rotated(group: Group) -> Values:
    """The matching measures after rotations of b's units, means over rotations."""
    count = ROTATIONS if group.width <= NARROW else ROTATIONS_WHEN_WIDER
    values: Values = {}
    for a, b in combinations(range(len(group.specs)), 2):
        c = group.covariances(group.moments, a, b)
        rotated = list(_rotations(c, count, np.random.default_rng([a, b])))
        for name, measure in MATCHING.items():
            values[a, b, name] = float(np.mean([measure(one) for one in rotated]))
    return values


def _rotations(c: Covariances, count: int, generator: np.random.Generator) -> Iterable[Covariances]:
    for _ in range(count):
        yield mixed(c, orthonormal(torch.from_numpy(generator.standard_normal(c.b.shape))).numpy())


def _untrained(trained: Group, untrained: Group, wanted: Iterable[tuple[int, int, str]]) -> Values:
    """What untrained networks of the same architectures give, means over their pairs; NaN where there are none."""
    found = _values(untrained, untrained.statistics.folds, MEASURES)
    values: Values = {}
    for a, b, name in wanted:
        if name in MATCHING:
            continue
        firsts, seconds = (untrained.alike(trained.specs[n]) for n in (a, b))
        pairs = [(x, y) for x in firsts for y in seconds if (x == y) == (a == b)]
        if name not in DIRECTED:
            pairs = [(min(pair), max(pair)) for pair in pairs]
        values[a, b, name] = float(np.mean([found[x, y, name] for x, y in pairs])) if pairs else float("nan")
    return values
