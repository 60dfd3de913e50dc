"""Rows of the table measures: published measures of similarity for every pair of networks.

Every measure has its value by chance beside it. Most are the same, or nearly, after any rotation of a network's units;
by chance they are what untrained networks give. Those that match units are compared with randomly rotated units.

Intervals leave out one fold at a time, and every measure would have to be computed once more for each. Where that takes
long, there is no interval: in layers of more than 1,024 units for all but CKA and the effective dimension, and in
layers of more than 256 units for those matchings that are transport problems. Rotations: 10, but 1 in layers of more
than 256 units, where the mean over units varies by some .003 between rotations.

Partial matching matches the part of the units that is worth it, chosen on images that the pairs were not fitted on
(`raycv.analysis.measures.units.matched_mass`). Its score, the mean correlation matched, cannot choose: the sum matched
is the optimum of a transport problem, so it is concave in the mass and 0 without any, and the mean never rises with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from raycv.analysis.arrays import Floats
from raycv.analysis.measures.alignment import cross_fold_cka, linear_cka
from raycv.analysis.measures.canonical import mean_cca, pwcca, svcca
from raycv.analysis.measures.covariances import Covariances
from raycv.analysis.measures.prediction import regression_r2
from raycv.analysis.measures.shapes import angular_distance, permutation_procrustes_distance, procrustes_distance
from raycv.analysis.measures.units import (
    hard_correlation_match,
    matched_mass,
    mixed,
    partial_matching_score,
    soft_correlation_match,
    soft_matching_distance,
)
from raycv.analysis.nulls import WIDE, effective_dimension, orthonormal
from raycv.analysis.similarity import jackknife
from raycv.networks.spec import NetworkSpec
from raycv.stages.align.groups import NetworkGroup, alike
from raycv.statistics.moments import JointMoments, merge

Measure = Callable[[Covariances], float]
Values = dict[tuple[int, int, str], float]  # by network a, network b and measure

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
}
DIRECTED = ("pwcca", "regression_r2")  # from a to b; all others are symmetric
QUICK = ("linear_cka",)  # in layers of any width
PARTIAL, MASS = "partial_matching_score", "partial_matching_mass"
TRANSPORTS = ("soft_matching_distance", PARTIAL)
NARROW = 256  # units; up to here a transport problem takes 10 ms
ROTATIONS, ROTATIONS_WHEN_WIDER = 10, 1


@dataclass(frozen=True)
class GroupMeasures:
    """Measures of some networks of a layer, and what rotations give in their place.

    ``masses``: the part of the units that is matched in part; ``replicates``: values without each fold, for intervals.
    """

    values: Values
    masses: Values
    replicates: tuple[Values, ...]
    rotated: Values


def measure(group: NetworkGroup) -> GroupMeasures:
    """All measures of all pairs of the networks of ``group``."""
    folds, measures = group.statistics.folds, {**MEASURES, **MATCHING}
    masses = _masses(group)
    values = _values(group, group.moments, folds, measures, masses)
    with_interval = {name: measure for name, measure in measures.items() if _fast(name, group.width)}
    followed = masses if _fast(PARTIAL, group.width) else {}
    rest = [[other for other in folds if other is not fold] for fold in folds] if len(folds) > 1 else []
    replicates = tuple(_values(group, reduce(merge, part), part, with_interval, followed) for part in rest)
    return GroupMeasures(values, masses, replicates, _rotated(group, masses))


def measure_untrained_weights(group: NetworkGroup) -> Values:
    """The measures that rotations leave as they are, of untrained networks."""
    return _values(group, group.moments, group.statistics.folds, MEASURES, {})


def together(found: Sequence[Values]) -> Values:
    """Those of all networks from those of every pair: first of single networks, then pair by pair."""
    joined = {key: value for of_pair in found for key, value in of_pair.items()}
    return dict(sorted(joined.items(), key=lambda item: (item[0][0] != item[0][1], sorted(item[0][:2]))))


def all_measured(found: Sequence[GroupMeasures]) -> GroupMeasures:
    """The measures of all networks from those of every pair."""
    replicates = zip(*(of_pair.replicates for of_pair in found), strict=True)
    return GroupMeasures(
        together([of_pair.values for of_pair in found]),
        together([of_pair.masses for of_pair in found]),
        tuple(together(of_fold) for of_fold in replicates),
        together([of_pair.rotated for of_pair in found]),
    )


def measure_rows(
    layer: str,
    specs: Sequence[NetworkSpec],
    found: GroupMeasures,
    untrained: tuple[Sequence[NetworkSpec], Values] | None,
) -> pd.DataFrame:
    """One row per pair of networks and measure, two for directed measures; and each network's effective dimension.

    ``untrained``: untrained networks with their measures.
    """
    chance = found.rotated | (_by_untrained(specs, *untrained, found.values) if untrained else {})
    rows = []
    for key, value in (found.values | found.masses).items():
        a, b, name = key
        interval = jackknife(value, [replicate.get(key, np.nan) for replicate in found.replicates])
        about = {"layer_a": layer, "layer_b": layer, "net_a": specs[a].name, "net_b": specs[b].name}
        of_measure = {"measure": name, "value": value, "low": interval.low, "high": interval.high}
        rows.append(about | of_measure | {"chance": chance.get(key, np.nan)})
    return pd.DataFrame(rows)


def _fast(name: str, width: int) -> bool:
    return name in QUICK or width <= (NARROW if name in TRANSPORTS else WIDE)


def _over_pairs(group: NetworkGroup, of_pair: Callable[[int, int], Values]) -> Values:
    """What ``of_pair`` gives for all pairs of networks a < b, side by side where their covariances are not large."""
    pairs = combinations(group.networks, 2)
    with ThreadPoolExecutor(1 if group.width > WIDE else os.cpu_count()) as pool:
        return {key: value for found in pool.map(lambda pair: of_pair(*pair), pairs) for key, value in found.items()}


def _values(
    group: NetworkGroup,
    total: JointMoments,
    folds: Sequence[JointMoments],
    measures: dict[str, Measure],
    masses: Values,
) -> Values:
    """Over the images of ``folds``, ``total`` in all, of all pairs of networks a < b, directed measures also of (b, a).

    The effective dimension of network n is that of (n, n). Pairs without a mass are not matched in part.
    """

    def of_pair(a: int, b: int) -> Values:
        c = group.covariances(total, a, b)
        values = {(a, b, name): measure(c) for name, measure in measures.items()}
        values |= {(b, a, name): measures[name](c.reversed()) for name in DIRECTED if name in measures}
        if len(folds) > 1:
            values[a, b, "debiased_cka"] = cross_fold_cka(group.covariances(fold, a, b) for fold in folds)
        if (a, b, MASS) in masses:
            values[a, b, PARTIAL] = partial_matching_score(c, masses[a, b, MASS])
        return values

    dimensions = {
        (n, n, "effective_dimension"): effective_dimension(group.covariances(total, n, n).correlations().a)
        for n in group.networks
    }
    return dimensions | _over_pairs(group, of_pair)


def _masses(group: NetworkGroup) -> Values:
    """The part of the units of every pair that is matched in part; none where all images are one fold."""
    folds = group.statistics.folds
    if len(folds) < 2:
        return {}
    halves = [reduce(merge, folds[first::2]) for first in (0, 1)]

    def of_pair(a: int, b: int) -> Values:
        found = [group.covariances(half, a, b) for half in halves]
        # A unit may fire in one half of the images alone.
        fires = (
            np.minimum(*(np.diagonal(side) for side in sides))
            for sides in zip(*((c.a, c.b) for c in found), strict=True)
        )
        rows, columns = (np.flatnonzero(of_side > 0) for of_side in fires)
        first, second = (half.among(rows, columns) for half in found)
        return {(a, b, MASS): matched_mass(first, second, _mixtures(group, a, b, len(columns)))}

    return _over_pairs(group, of_pair)


def _rotated(group: NetworkGroup, masses: Values) -> Values:
    """The matching measures after rotations of b's units, means over rotations."""

    def of_pair(a: int, b: int) -> Values:
        c = group.covariances(group.moments, a, b)
        rotated = [mixed(c, mixture) for mixture in _mixtures(group, a, b, len(c.b))]
        values = {(a, b, name): np.mean([measure(one) for one in rotated]) for name, measure in MATCHING.items()}
        if (a, b, MASS) in masses:
            values[a, b, PARTIAL] = np.mean([partial_matching_score(one, masses[a, b, MASS]) for one in rotated])
        return {key: float(value) for key, value in values.items()}

    return _over_pairs(group, of_pair)


def _mixtures(group: NetworkGroup, a: int, b: int, units: int) -> list[Floats]:
    """Random orthonormal mixtures (units, units) of b's units, the same whenever asked for."""
    generator = np.random.default_rng([a, b])
    count = ROTATIONS if group.width <= NARROW else ROTATIONS_WHEN_WIDER
    normal = (generator.standard_normal((units, units)) for _ in range(count))
    return [orthonormal(torch.from_numpy(values)).numpy() for values in normal]


def _by_untrained(
    specs: Sequence[NetworkSpec],
    untrained: Sequence[NetworkSpec],
    found: Values,
    wanted: Iterable[tuple[int, int, str]],
) -> Values:
    """What ``untrained`` networks of the same architectures give, means over their pairs; NaN where there are none."""
    values: Values = {}
    for a, b, name in wanted:
        if name in (*MATCHING, PARTIAL):
            continue
        firsts, seconds = alike(untrained, specs[a]), alike(untrained, specs[b])
        pairs = [(x, y) for x in firsts for y in seconds if (x == y) == (a == b)]
        if name not in DIRECTED:
            pairs = [(min(pair), max(pair)) for pair in pairs]
        values[a, b, name] = float(np.mean([found[x, y, name] for x, y in pairs])) if pairs else float("nan")
    return values
