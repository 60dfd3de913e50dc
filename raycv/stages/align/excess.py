"""What matched units have beyond chance: averages over the units of one layer, for every ordered pair of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raycv.analysis.averages import mean
from raycv.analysis.matching import Matching, bipartite_matching, semi_matching
from raycv.analysis.nulls import best_correlation, one_unit_share, rotated, rotated_matching, scaled
from raycv.analysis.recurrence import Recurrence
from raycv.analysis.significance import estimated_share
from raycv.networks.spec import NetworkSpec
from raycv.stages.align.groups import alike
from raycv.stages.align.matching import Pairs, match
from raycv.stages.align.nulls import KINDS, LayerNulls, Similarities

Columns = dict[str, float]
METHODS = {"semi": semi_matching, "bipartite": bipartite_matching}
FOLLOWED = 2  # rotations with which a fold of the images is left out; the rest would only repeat them


def average(matching: Matching) -> float:
    """The mean over units that have a partner; NaN where none has."""
    found = matching.values[matching.columns >= 0]
    return float(found.mean()) if len(found) else float("nan")


# What units mixed before the non-linearity give semi-matchings by one draw in all samples, which every group has: the
# draws by which single units are tested are made of the final and the untrained networks alone.
ONE_DRAW = "semi, one draw"


def beyond_chance(layer: LayerNulls, recurs: Recurrence) -> dict[tuple[int, int, str], Columns]:
    """For every ordered pair and method the columns rotated_..., excess, prerelu_..., shuffled_... of correlations.

    Of semi-matchings also beyond_chance and estimated_share, and prerelu_... from the draws by which single units are
    tested; of one-to-one matchings from one draw, as in ``ONE_DRAW`` beside the methods. ``recurs``: the partners of
    the units of ``layer``, with the rotated null of every ordered pair.
    """
    found: dict[tuple[int, int, str], Columns] = {}
    for a, b in layer.ordered:
        cross, prerelu = layer.cross(a, b), layer.by_chance("prerelu", a, b)
        for method, matched in METHODS.items():
            if method == "semi":
                null, error = recurs.pairs[a, b].whole.mean, recurs.pairs[a, b].whole.error
            else:
                draws = rotated_matching(cross, layer.covariances(b), seed=_seed(a, b))
                null, error = float(draws.mean()), float(draws.std(ddof=1) / np.sqrt(len(draws)))
            absolute = average(matched(np.abs(cross)))
            mixed, mixed_error, apart = np.nan, np.nan, np.nan
            if prerelu is not None:
                mixed = average(matched(np.abs(prerelu)))
                apart = absolute - mixed
            if method == "semi":
                found[a, b, ONE_DRAW] = {"prerelu_mean": mixed, "prerelu_excess": apart}
            drawn = layer.mixed_draws(a, b)
            if method == "semi" and drawn is not None:
                by_draw = np.nanmean(drawn.null, axis=1)
                mixed, mixed_error = float(by_draw.mean()), float(by_draw.std(ddof=1) / np.sqrt(len(by_draw)))
                apart = mean(drawn.values) - mixed
            found[a, b, method] = {
                "rotated_mean": null,
                "rotated_error": error,
                "excess": absolute - null,
                "prerelu_mean": mixed,
                "prerelu_error": mixed_error,
                "prerelu_excess": apart,
            }
            if method == "semi":
                partners = recurs.pairs[a, b]
                named = partners.found()[partners.columns >= 0]
                found[a, b, method] |= {
                    "beyond_chance": float(named.mean()) if len(named) else np.nan,
                    "estimated_share": estimated_share(partners.p_values),
                }
    _add_shuffled(found, layer, information=False)
    return found


def _add_shuffled(found: dict[tuple[int, int, str], Columns], layer: LayerNulls, *, information: bool) -> None:
    """Add to the columns of every ordered pair and method those of samples of other images."""
    for kind in KINDS[1:]:
        for a, b in layer.ordered:
            values = layer.by_chance(kind, a, b, information=information)
            if values is not None:
                for method, matched in METHODS.items():
                    found[a, b, method][f"{kind}_mean"] = average(matched(values))


def information_beyond_chance(layer: LayerNulls, pairs: Pairs) -> dict[tuple[int, int, str], Columns]:
    """The same columns of mutual information, for which there is no rotated null; ``pairs``: its matchings."""
    found: dict[tuple[int, int, str], Columns] = {}
    for a, b in layer.ordered:
        mixed = layer.by_chance("prerelu", a, b, information=True)
        for method, matched in METHODS.items():
            null = np.nan if mixed is None else average(matched(mixed))
            found[a, b, method] = {"prerelu_mean": null, "prerelu_excess": average(pairs[a, b, method]) - null}
    _add_shuffled(found, layer, information=True)
    return found


OF_UNTRAINED = ("excess", "prerelu_excess", "beyond_chance", "estimated_share")
UNTRAINED = ("untrained_mean", "untrained_spread", *(f"untrained_{name}" for name in OF_UNTRAINED))


def untrained_nowhere(_a: NetworkSpec, _b: NetworkSpec, _method: str) -> Columns:
    """The columns of `Untrained` where there are no untrained networks."""
    return dict.fromkeys(UNTRAINED, float("nan"))


class Untrained:
    """The averages of one layer of untrained networks, for pairs of networks of the same architectures."""

    def __init__(self, specs: Sequence[NetworkSpec], pairs: Pairs, beyond: dict[tuple[int, int, str], Columns]) -> None:
        """``specs``: of the untrained networks, with their matchings and what these have beyond chance."""
        self._specs, self._beyond = specs, beyond
        self._means = {key: average(matching) for key, matching in pairs.items()}

    def __call__(self, a: NetworkSpec, b: NetworkSpec, method: str) -> Columns:
        """The columns untrained_... of networks built like ``a`` and ``b``: means over all ordered pairs of such."""
        firsts, seconds = alike(self._specs, a), alike(self._specs, b)
        pairs = [(x, y, method) for x in firsts for y in seconds if x != y]
        if not pairs:  # recorded activations
            return untrained_nowhere(a, b, method)
        means = [self._means[key] for key in pairs]
        return {
            "untrained_mean": float(np.mean(means)),
            "untrained_spread": float(np.std(means, ddof=1)) if len(means) > 1 else np.nan,
        } | {
            f"untrained_{name}": float(np.mean([self._beyond[key].get(name, np.nan) for key in pairs]))
            for name in OF_UNTRAINED
        }


@dataclass(frozen=True)
class WithoutFold:
    """What a layer gives without one fold of the images: its matchings, and the excess of every ordered pair."""

    pairs: Pairs
    excess: dict[tuple[int, int], float]


def without_each_fold(layer: LayerNulls) -> list[WithoutFold]:
    """The replicates of the jackknife, fold by fold; one fold's correlations are held at a time."""
    replicates = []
    for moments in layer.group.statistics.without_each():
        values = layer.group.correlations(moments)
        excess = {(a, b): _excess(values, layer.group.deviations[b], a, b) for a, b in layer.ordered}
        replicates.append(WithoutFold(match(values), excess))
    return replicates


def _excess(values: Similarities, deviations: np.ndarray, a: int, b: int) -> float:
    """``deviations``: of b's units, over all images."""
    cross = values[a, b] if a < b else values[b, a].T
    null = rotated(cross, scaled(values[b, b], deviations), rotations=FOLLOWED, seed=_seed(a, b), device="cpu")
    return mean(best_correlation(cross)) - null.mean


def share_of_one_unit(layer: LayerNulls, recurs: Recurrence) -> dict[tuple[int, int], float]:
    """For every ordered pair, the share of linearly predictable variance that one unit of b holds."""
    return {
        (a, b): one_unit_share(layer.cross(a, b), layer.cross(b, b), recurs.pairs[a, b].whole).mean
        for a, b in layer.ordered
    }


def _seed(a: int, b: int) -> int:
    return int(np.random.SeedSequence([a, b]).generate_state(1)[0])
