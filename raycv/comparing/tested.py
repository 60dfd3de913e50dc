"""What is kept of the samples beside their moments: whole images, to test units in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycv.analysis.arrays import Floats
from raycv.analysis.draws import draws_for, mixed_before_relu, scores, shuffled_all
from raycv.analysis.partners import largest_p_values
from raycv.analysis.rotations import Rotations
from raycv.analysis.significance import Draws
from raycv.analysis.splitmix import GOLDEN, mixed
from raycv.comparing.kept import Side

SAMPLES = 10_000  # at most
ENTRIES = 2**25  # of all members together, at most
STRATA = 8  # of images, each with positions of its own
SEED = 0  # of all draws, which depend on a layer's width alone
PValues = Mapping[tuple[int, int], Floats]
SILENT = 0.01  # of its samples at 0 and none below it: such a layer is taken for rectified


class TestedSamples:
    """A random part of the images that were added: as many as possible, with as many positions of each as then fit.

    Which they are follows from the place of an image in the data. Images of one stratum have the same positions, so
    that whole images can be shuffled.
    """

    __test__ = False  # for pytest

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}  # (images, positions, S)
        self._hashes = np.empty(0, np.uint64)
        self._seen = self._each = 0
        self._order = np.empty((STRATA, 0), np.int64)

    def update(self, activations: Mapping[str, Tensor]) -> None:
        """Add a batch: of every member the activations (n, S, ...) of the same images at the same positions."""
        tables = {
            name: values.flatten(2) if values.ndim > 2 else values[..., None] for name, values in activations.items()
        }
        first = next(iter(tables.values()))
        count, positions = len(first), first.shape[2]
        budget = max(2, min(SAMPLES, ENTRIES // sum(table.shape[1] for table in tables.values())))
        if not self._values:
            self._values = {name: [] for name in tables}
            self._each = positions
            generator = np.random.default_rng(0)
            self._order = np.stack([generator.permutation(positions) for _ in range(STRATA)])
            self._limit = 2**64 - 1
        hashes = mixed(np.arange(self._seen, self._seen + count).astype(np.uint64) * GOLDEN)
        self._seen += count
        wanted = np.flatnonzero(hashes <= np.uint64(self._limit))
        self._hashes = np.concatenate([self._hashes, hashes[wanted]])
        self._make_room(budget)
        wanted = wanted[hashes[wanted] <= np.uint64(self._limit)]
        images = torch.from_numpy(wanted)[:, None]
        chosen = torch.from_numpy(self._order[_strata(hashes[wanted]), : self._each])
        for name, table in tables.items():
            self._values[name].append(table.detach().cpu()[images, :, chosen].float())

    def _make_room(self, budget: int) -> None:
        """Keep fewer positions of each image, then fewer images, until all fit."""
        each, kept = self._each, self._hashes
        while len(kept) * each > budget and each > 1:
            each = (each + 1) // 2
        if len(kept) * each > budget:
            self._limit = int(np.partition(kept, budget // 2)[budget // 2])  # half, so that this happens seldom
        if each == self._each and len(kept) * each <= budget:
            return
        inside = kept <= np.uint64(self._limit)
        held = torch.from_numpy(np.flatnonzero(inside[: sum(map(len, next(iter(self._values.values()))))]))
        for name, parts in self._values.items():
            self._values[name] = [torch.cat(parts)[held, :each]] if parts else []
        self._each, self._hashes = each, kept[inside]

    def p_values(self, left_out: Sequence[NDArray[np.bool_]], sides: Sequence[Side], rotations: Rotations) -> PValues:
        """By ordered pair of members, the largest p-values (S_a,) that draws by chance in b's place give a's units.

        ``left_out``: by member (S,), the units that take no part; ``sides``: which members are compared. What is drawn
        in the place of a member is the same for all others (`draws`), with mixtures by ``rotations``.
        """
        names = list(self._values)
        ordered = [(a, b) for first, second in sides for pair in product(first, second) for a, b in (pair, pair[::-1])]
        scored = [scores(self._samples(name), of_member) for name, of_member in zip(names, left_out, strict=True)]
        found: dict[tuple[int, int], Floats] = {}
        for b, name in enumerate(names):
            others = [a for a, of in ordered if of == b]
            drawn = self._draws([scored[a] for a in others], scored[b], self._samples(name), left_out[b], rotations)
            for a, draws in zip(others, drawn, strict=True):
                found[a, b] = largest_p_values(draws)
        return found

    def draws(self, a: str, b: str, left_out: Mapping[str, NDArray[np.bool_]]) -> list[Draws]:
        """What the units of member ``a`` are tested against: images of ``b`` shuffled, and its units mixed.

        Of ``b`` rectified, as far as its values show it, mixtures are rectified, too, each to be active as often as one
        of the units. ``left_out``: of both the units (S,) that take no part.
        """
        before = self._samples(b)
        of_a, of_b = scores(self._samples(a), left_out[a]), scores(before, left_out[b])
        (found,) = self._draws([of_a], of_b, before, left_out[b], Rotations(SEED))
        return found

    def _draws(
        self, others: Sequence[Tensor], of_b: Tensor, before: Tensor, left_out: NDArray[np.bool_], rotations: Rotations
    ) -> list[list[Draws]]:
        """Of each of ``others``, z-scores (n, S_a), those with draws in the place of b's units."""
        whole = self._each == self._order.shape[1]  # then all positions are there, if in another order
        strata = np.zeros(len(self._hashes), np.int64) if whole else _strata(self._hashes)
        counts = [draws_for(max(of_a.shape[1], of_b.shape[1])) for of_a in others]
        found = [[draws] for draws, _ in shuffled_all(others, of_b, strata, counts=counts, seed=SEED)]
        if float(before.min()) < 0 or float((before == 0).float().mean()) < SILENT:
            return found
        nulls = mixed_before_relu(others, before, int(left_out.sum()), count=counts, seed=rotations)
        return [[draws, Draws(draws.values, null)] for (draws,), null in zip(found, nulls, strict=True)]

    def _samples(self, name: str) -> Tensor:
        """(n, S): image by image, each at its stratum's positions, or at all of them in the order of the layer."""
        values = torch.cat(self._values[name])
        self._values[name] = [values]
        if self._each == self._order.shape[1]:
            back = torch.from_numpy(np.argsort(self._order[_strata(self._hashes)], axis=1))
            values = values.gather(1, back[..., None].expand_as(values))
        return values.flatten(0, 1)


def _strata(hashes: np.ndarray) -> np.ndarray:
    return np.asarray(hashes >> np.uint64(8)).astype(np.int64) % STRATA
