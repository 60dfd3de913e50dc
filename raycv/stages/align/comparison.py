"""What networks have in common in one layer: all that later rows need, found for a few networks at a time.

A layer whose moments fit one file is compared at once, in the driver. A wider one is compared pair by pair of networks,
each in a Ray task that holds the moments of two networks alone. The results are small but for the values of all pairs
of units, which are handed on as they come.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from raycv.analysis.nulls import WIDE, effective_dimension
from raycv.analysis.partner_stability import Stability
from raycv.analysis.recurrence import Recurrence
from raycv.devices import Processors, for_float64, local, of_worker
from raycv.distributed import ray_cluster
from raycv.distributed.ray_cluster import CPUS
from raycv.distributed.tasks import in_order
from raycv.run.paths import NETS, NULL, Key
from raycv.stages.align.excess import (
    Columns,
    WithoutFold,
    beyond_chance,
    information_beyond_chance,
    share_of_one_unit,
    without_each_fold,
)
from raycv.stages.align.matching import Pairs, information_of, match
from raycv.stages.align.measures import (
    GroupMeasures,
    Values,
    all_measured,
    measure,
    measure_untrained_weights,
    together,
)
from raycv.stages.align.memory import comparison_need
from raycv.stages.align.nulls import LayerNulls
from raycv.stages.align.recurring import recurrence_of
from raycv.stages.align.universal import Published, published_of
from raycv.statistics.halves import halves, stabilities
from raycv.statistics.parts import parts
from raycv.statistics.reader import Statistics

if TYPE_CHECKING:
    import torch

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")

COMPLETE = 2**28  # rows of a layer up to which a table has all pairs of units; 15 pairs of networks of 4,096 units
OF_A_GPU = 0.25  # that a task of a wide layer may use
TOP = 100  # else the partners of each unit that it has


class AlignTask(NamedTuple):
    """Some networks of a group in one layer, by their numbers, and whether they are compared in the driver.

    ``is_wide``: a GPU has something to do. ``use_gpu``: the task in which they are compared has some of one.
    """

    layer: str
    group: str
    networks: tuple[int, ...]
    is_small: bool
    is_wide: bool = False
    use_gpu: bool = False


@dataclass(frozen=True)
class PairValues:
    """Values of pairs of units of networks a <= b, float32: (S_a, S_b), or (n,) of the ``units`` named, (2, n)."""

    table: str
    a: int
    b: int
    columns: dict[str, np.ndarray]
    units: np.ndarray | None = None


@dataclass(frozen=True)
class Informed:
    """By mutual information: matchings, and what they have beyond chance."""

    pairs: Pairs
    beyond: dict[tuple[int, int, str], Columns]


@dataclass(frozen=True)
class Compared:
    """What some networks, or all, have in common in one layer; they go by their numbers in the group.

    pairs, recurs, beyond: matchings by correlation, partners, and what both have beyond chance. dimensions: effective
    ones. Of trained networks also replicates and share (of one unit), measured, informed; of untrained ones their
    measures. stability: of the partners of trained networks, where the images are several folds. published: what the
    published definitions of universal units look at, of trained and untrained ones; shuffled: the same with samples of
    other images, of trained ones.
    """

    pairs: Pairs
    recurs: Recurrence
    beyond: dict[tuple[int, int, str], Columns]
    dimensions: dict[int, float]
    replicates: tuple[WithoutFold, ...] = ()
    share: dict[tuple[int, int], float] | None = None
    measured: GroupMeasures | None = None
    untrained: Values | None = None
    informed: Informed | None = None
    values: tuple[PairValues, ...] = ()
    stability: Mapping[tuple[int, int], Stability] = field(default_factory=dict)
    published: Mapping[tuple[int, int], Published] = field(default_factory=dict)
    shuffled: Mapping[tuple[int, int], Published] = field(default_factory=dict)


def pieces_of(found: Statistics, layer: str, group: str) -> list[AlignTask]:
    """All networks at once, or where the moments fill several files, each pair."""
    widths = found.widths(layer, group)
    networks, is_wide = range(len(widths)), max(widths) > WIDE
    if len(parts(widths)) == 1:
        return [AlignTask(layer, group, tuple(networks), True, is_wide)]
    return [AlignTask(layer, group, pair, False, is_wide) for pair in combinations(networks, 2)]


def compare_all(found: Statistics, pieces: Sequence[AlignTask], wanted: Processors = CPUS) -> Iterator[Compared]:
    """What ``compare`` gives for each piece, in order: small ones in this process, the others as Ray tasks.

    Of wide layers on the processors ``wanted``: on a GPU of this machine, or on some of one that Ray gives the task.
    """
    large = [piece for piece in pieces if not piece.is_small]
    use_gpu = any(piece.is_wide for piece in large) and ray_cluster.computes_on_gpus(wanted)
    large = [piece._replace(use_gpu=use_gpu and piece.is_wide) for piece in large]
    widths = {piece.layer: found.widths(piece.layer, piece.group) for piece in large}
    folds = {piece.layer: found.folds[Key(piece.group, piece.layer)] for piece in large}
    at_once = int(wanted.gpus / OF_A_GPU) if use_gpu and wanted.gpus else None
    needed = comparison_need(widths, folds).bytes if large else 0
    computed = in_order(compare, found, large, needed, _part_of_gpu, at_once) if large else iter(())
    for piece in pieces:
        here = local(wanted.device) if piece.is_wide else None
        yield compare(found, piece, here) if piece.is_small else next(computed)


def _part_of_gpu(piece: AlignTask) -> float:
    return OF_A_GPU if piece.use_gpu else 0.0


def compare(found: Statistics, piece: AlignTask, device: torch.device | None = None) -> Compared:
    """All that is found of the networks of one piece, on ``device``, or where Ray has given the task some of a GPU."""
    device = device or for_float64(of_worker(use_gpu=piece.use_gpu))
    layer = LayerNulls(found, piece.layer, piece.group, piece.networks)
    trained = piece.group == NETS
    pairs = match(layer.correlations)
    # Several threads slow small matrices down.
    with threadpool_limits(1 if layer.group.width <= WIDE else None):
        recurs = recurrence_of(layer.group, {pair: layer.draws(*pair) for pair in layer.ordered}, device)
        beyond = beyond_chance(layer, recurs)
        replicates = tuple(without_each_fold(layer)) if trained else ()
        share = share_of_one_unit(layer, recurs) if trained else None
        dimensions = {n: effective_dimension(layer.correlations[n, n]) for n in piece.networks}
        measured = measure(layer.group) if trained else None
        untrained = measure_untrained_weights(layer.group) if piece.group == NULL else None
        stable = _stability(layer) if trained else {}
        published = published_of(layer) if trained or piece.group == NULL else {}
        by_chance = published_of(layer, shuffled=True) if trained else {}
    informed, values = _informed(found, layer, piece) if trained else (None, [])
    return Compared(
        pairs,
        recurs,
        beyond,
        dimensions,
        replicates,
        share,
        measured,
        untrained,
        informed,
        tuple(values),
        stable,
        published,
        by_chance,
    )


def _stability(layer: LayerNulls) -> dict[tuple[int, int], Stability]:
    """Of the best partners by correlation, of every ordered pair of networks."""
    group = layer.group
    splits, found = halves(group.statistics), dict[tuple[int, int], Stability]()
    for a, b in combinations(group.networks, 2):
        first, second = group.networks.index(a), group.networks.index(b)
        both = stabilities(splits, group.left_out, first, second)
        found |= {(a, b): both[0], (b, a): both[1]} if both else {}
    return found


def _informed(found: Statistics, layer: LayerNulls, piece: AlignTask) -> tuple[Informed, list[PairValues]]:
    """Mutual information, one pair of networks after the other; and the values of pairs of units of both kinds."""
    widths = found.widths(piece.layer)
    complete = (sum(widths) ** 2 + sum(width**2 for width in widths)) // 2 <= COMPLETE
    top = None if complete else TOP
    values: list[PairValues] = []
    pairs: Pairs = {}
    for a, b in _shown(piece, len(found.networks)):
        values.append(_pair_values("correlations", a, b, {"value": layer.correlations[a, b]}, top))
    for a, b in _shown(piece, len(found.networks)):
        information = information_of(found, layer, piece.layer, a, b)
        pairs |= match({(a, b): information["value"]})
        values.append(_pair_values("mutual_information", a, b, information, top))
    return Informed(pairs, information_beyond_chance(layer, pairs)), values


def _shown(piece: AlignTask, networks: int) -> list[tuple[int, int]]:
    """The pairs of networks a <= b whose values a piece hands on: over all pieces, each once and in order."""
    first, last = piece.networks[0], piece.networks[-1]
    if piece.is_small:
        return [(a, b) for a in piece.networks for b in piece.networks if a <= b]
    own = [(first, first)] if last == first + 1 else []
    return [*own, (first, last), *([(last, last)] if first == networks - 2 else [])]


def _pair_values(table: str, a: int, b: int, columns: dict[str, np.ndarray], top: int | None) -> PairValues:
    if top is None or top >= min(columns["value"].shape):
        return PairValues(table, a, b, {name: values.astype(np.float32) for name, values in columns.items()})
    units = top_partners(columns["value"], top)
    chosen = {name: values[units[0], units[1]].astype(np.float32) for name, values in columns.items()}
    return PairValues(table, a, b, chosen, units)


def top_partners(values: np.ndarray, top: int) -> np.ndarray:
    """(2, n) int32: the pairs in which a unit of either side is among the ``top`` largest of the other's, in order.

    Largest without sign, from ``values`` (S_a, S_b); a unit whose values are NaN has none.
    """
    sizes = np.abs(values, dtype=np.float32, casting="same_kind")
    sizes[np.isnan(sizes)] = -1
    chosen = np.zeros(values.shape, dtype=bool)
    of_a = np.argpartition(-sizes, top - 1, axis=1)[:, :top]
    chosen[np.arange(len(values))[:, None], of_a] = True
    of_b = np.argpartition(-sizes, top - 1, axis=0)[:top]
    chosen[of_b, np.arange(values.shape[1])] = True
    return np.array(np.nonzero(chosen & (sizes >= 0)), dtype=np.int32)


def all_compared(found: Sequence[Compared]) -> Compared:
    """What all networks have in common, from what is found of their pairs; without values of pairs of units."""
    if len(found) == 1:
        return found[0]
    first = found[0]
    return Compared(
        pairs=_union([one.pairs for one in found]),
        recurs=Recurrence(dict(sorted(_union([one.recurs.pairs for one in found]).items()))),
        beyond=_union([one.beyond for one in found]),
        dimensions=_union([one.dimensions for one in found]),
        replicates=tuple(
            WithoutFold(_union([one.pairs for one in of_fold]), _union([one.excess for one in of_fold]))
            for of_fold in zip(*(one.replicates for one in found), strict=True)
        ),
        share=_union([one.share for one in found if one.share]) if first.share is not None else None,
        measured=all_measured([one.measured for one in found if one.measured]) if first.measured else None,
        untrained=together([one.untrained for one in found if one.untrained]) if first.untrained else None,
        informed=_all_informed([one.informed for one in found if one.informed]),
        stability=_union([one.stability for one in found]),
        published=_union([one.published for one in found]),
        shuffled=_union([one.shuffled for one in found]),
    )


def _all_informed(found: Sequence[Informed]) -> Informed | None:
    return Informed(_union([one.pairs for one in found]), _union([one.beyond for one in found])) if found else None


def _union(found: Sequence[Mapping[Name, Value]]) -> dict[Name, Value]:
    return {key: value for part in found for key, value in part.items()}
