"""What is kept of the samples beside their moments: whole images, to test units in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycv.analysis.arrays import Floats
from raycv.analysis.draws import draws_for, mixed_before, scores, shuffled_all
from raycv.analysis.partners import largest_p_values
from raycv.analysis.prerelu import Mixable
from raycv.analysis.rotations import Rotations
from raycv.analysis.significance import Draws
from raycv.analysis.splitmix import GOLDEN, mixed
from raycv.api.kept import Side
from raycv.networks.nonlinearity import NonLinearity
from raycv.networks.rectified import Before, mixable_of

SAMPLES = 10_000  # at most
ENTRIES = 2**25  # of all members together, at most
STRATA = 8  # of images, each with positions of its own
SEED = 0  # of all draws, which depend on a layer's width alone
PValues = Mapping[tuple[int, int], Floats]
SILENT = 0.01  # of its samples at 0 and none below it: such a layer is taken for rectified


class TestedSamples:
    """A random part of the images that were added: as many as possible, with as many positions of each as then fit.

    Which they are follows from the place of an image in the data. Images of one stratum have the same positions, so
    that whole images can be shuffled. Of layers that end in a known non-linearity the activations before it are kept,
    from which those after it follow.
    """

    __test__ = False  # for pytest

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}  # (images, positions, S)
        self._before: dict[str, Before] = {}  # of the first batch, without values, of members of which these are kept
        self._hashes = np.empty(0, np.uint64)
        self._seen = self._each = 0
        self._order = np.empty((STRATA, 0), np.int64)
        self._length: int | None = None  # of sequences, those that are shorter are left out

    def update(
        self,
        activations: Mapping[str, Tensor],
        before: Mapping[str, Before] | None = None,
        mask: Tensor | None = None,
    ) -> None:
        """Add a batch: of every member the activations (n, S, ...) of the same images at the same positions.

        ``before``: what went into the non-linearities of some, which is left aside where it is of other positions.
        ``mask``: of sequences, which positions count (n, T). To be shuffled they must have one length, which keeps most
        positions of the first batch: the others are cut to it or left out.
        """
        there = before or {}
        there = {n: one for n, one in there.items() if one.values.shape == activations[n].shape}
        if not self._values:
            self._before = {name: one._replace(values=one.values[:0]) for name, one in there.items()}
        kinds = {name: one.nonlinearity for name, one in there.items()}
        for name in [n for n, one in self._before.items() if kinds.get(n) != one.nonlinearity]:  # on another path now
            after = self._before.pop(name).nonlinearity
            self._values[name] = [after(part) for part in self._values[name]]
        kept = {**activations, **{name: there[name].values for name in self._before}}
        tables = {name: values.flatten(2) if values.ndim > 2 else values[..., None] for name, values in kept.items()}
        count = len(next(iter(tables.values())))
        whole = np.arange(count)
        if mask is not None:
            tables, whole = self._cut(tables, mask)
        positions = next(iter(tables.values())).shape[2]
        budget = max(2, min(SAMPLES, ENTRIES // sum(table.shape[1] for table in tables.values())))
        if not self._values:
            self._values = {name: [] for name in tables}
            self._each = positions
            generator = np.random.default_rng(0)
            self._order = np.stack([generator.permutation(positions) for _ in range(STRATA)])
            self._limit = 2**64 - 1
        hashes = mixed((self._seen + whole).astype(np.uint64) * GOLDEN)
        self._seen += count
        wanted = np.flatnonzero(hashes <= np.uint64(self._limit))
        self._hashes = np.concatenate([self._hashes, hashes[wanted]])
        self._make_room(budget)
        wanted = wanted[hashes[wanted] <= np.uint64(self._limit)]
        images = torch.from_numpy(wanted)[:, None]
        chosen = torch.from_numpy(self._order[_strata(hashes[wanted]), : self._each])
        for name, table in tables.items():
            self._values[name].append(table.detach().cpu()[images, :, chosen].float())

    def _cut(self, tables: Mapping[str, Tensor], mask: Tensor) -> tuple[dict[str, Tensor], NDArray[np.int64]]:
        """Of (n, S, T) the sequences that are long enough, cut to one length (m, S, L), and their numbers (m,)."""
        lengths = mask.sum(1)
        self._length = _best_length(lengths) if self._length is None else self._length
        whole = (lengths >= self._length).nonzero()[:, 0]
        places = _first_of(mask[whole], self._length)[:, None]

        def cut(table: Tensor) -> Tensor:
            rows = table[whole.to(table.device)]
            return rows.gather(2, places.to(table.device).expand(-1, rows.shape[1], -1))

        return {name: cut(table) for name, table in tables.items()}, whole.numpy()

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

    def p_values(
        self, left_out: Sequence[NDArray[np.bool_]], sides: Sequence[Side], rotations: Rotations, /
    ) -> PValues:
        """By ordered pair of members, the largest p-values (S_a,) that draws by chance in b's place give a's units.

        Images of b are shuffled and, where it ends in a known non-linearity, its units mixed by ``rotations`` before
        that, see `raycv.analysis.prerelu`. Units of which values alone are known are mixed after it, where these show
        that they are rectified, and rectified again, each mixture to be active as often as one of the units. What is
        drawn in the place of a member is the same for all others. ``left_out``: by member (S,), the units that take no
        part; ``sides``: which members are compared.
        """
        samples = [self._samples(name) for name in self._values]
        layers = [self._mixable(name, of) for name, of in zip(self._values, samples, strict=True)]
        scored = [scores(of_member, out) for of_member, out in zip(samples, left_out, strict=True)]
        found: dict[tuple[int, int], Floats] = {}
        values: dict[tuple[int, int], Floats] = {}

        def note(a: int, b: int, draws: Draws) -> None:
            values[a, b] = draws.values
            found[a, b] = np.maximum(found.get((a, b), 0), largest_p_values([draws]))

        for first, second in sides:
            for b, others, count in _by_count(second, first, samples):
                of_others = [scored[a] for a in others]
                drawn = shuffled_all(of_others, scored[b], self._strata, count=count, seed=SEED)
                for a, (there, back) in zip(others, drawn, strict=True):
                    note(a, b, there)
                    note(b, a, back)
            for b, others, count in (*_by_count(second, first, samples), *_by_count(first, second, samples)):
                if (layer := layers[b]) is not None:
                    of_others, out = [scored[a] for a in others], int(left_out[b].sum())
                    nulls = mixed_before(of_others, layer, out, count=count, seed=rotations)
                    for a, null in zip(others, nulls, strict=True):
                        note(a, b, Draws(values[a, b], null))
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that is kept, for storage, in the order of the members."""
        found: dict[str, NDArray[Any]] = {"hashes": self._hashes, "order": self._order, "each": np.array(self._each)}
        for n, name in enumerate(self._values):
            found[f"{n}"] = torch.cat(self._values[name]).numpy()
            before = self._before.get(name)
            if before is not None:
                told = {"scale": before.scale, "shift": before.shift}
                found |= {f"{n}/{what}": of.detach().cpu().numpy() for what, of in told.items() if of is not None}
                found[f"{n}/nonlinearity"] = np.array(before.nonlinearity.text())
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], names: Sequence[str]) -> TestedSamples:
        """What ``arrays`` gave of the members ``names``; nothing can be added."""
        made = cls()
        made._hashes, made._order, made._each = arrays["hashes"], arrays["order"], int(arrays["each"])
        for n, name in enumerate(names):
            made._values[name] = [torch.from_numpy(arrays[f"{n}"])]
            if f"{n}/nonlinearity" in arrays:
                scale, shift = (_tensor(arrays.get(f"{n}/{what}")) for what in ("scale", "shift"))
                by = NonLinearity.from_text(str(arrays[f"{n}/nonlinearity"]))
                made._before[name] = Before(made._values[name][0][:0], scale, shift, by)
        return made

    def activations(self, name: str, /) -> NDArray[np.float32]:
        """(n, S): those of a member that are kept, in samples that are the same for all members."""
        found: NDArray[np.float32] = self._samples(name).numpy()
        return found

    @property
    def _strata(self) -> NDArray[np.int64]:
        """(images,): of those that have the same positions; all do where all positions are there."""
        whole = self._each == self._order.shape[1]
        return np.zeros(len(self._hashes), np.int64) if whole else _strata(self._hashes)

    def _samples(self, name: str) -> Tensor:
        """The activations (n, S): image by image, each at its stratum's positions, or at all in the layer's order."""
        kept, before = self._kept(name), self._before.get(name)
        return kept if before is None else before.nonlinearity(kept)

    def _mixable(self, name: str, samples: Tensor) -> Mixable | None:
        before = self._before.get(name)
        if before is None:
            return Mixable(samples) if _is_rectified(samples) else None
        return mixable_of(before._replace(values=self._kept(name)))

    def _kept(self, name: str) -> Tensor:
        """The activations, or those before the non-linearity."""
        values = torch.cat(self._values[name])
        self._values[name] = [values]
        if self._each == self._order.shape[1]:
            back = torch.from_numpy(np.argsort(self._order[_strata(self._hashes)], axis=1))
            values = values.gather(1, back[..., None].expand_as(values))
        return values.flatten(0, 1)


def _best_length(lengths: Tensor) -> int:
    """That to which sequences are cut, and without shorter ones, so that the most positions are left; at least 1."""
    sorted_lengths = lengths.sort(descending=True).values
    left = sorted_lengths * torch.arange(1, len(lengths) + 1)
    return max(1, int(sorted_lengths[left.argmax()]))


def _first_of(mask: Tensor, length: int) -> Tensor:
    """(n, length): the first positions that count of sequences (n, T) of that many or more."""
    return torch.sort((~mask).to(torch.uint8), dim=1, stable=True).indices[:, :length]


def _tensor(values: NDArray[Any] | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values)


def _strata(hashes: np.ndarray) -> np.ndarray:
    return np.asarray(hashes >> np.uint64(8)).astype(np.int64) % STRATA


def _is_rectified(samples: Tensor) -> bool:
    return float(samples.min()) >= 0 and float((samples == 0).float().mean()) >= SILENT


def _by_count(
    members: Sequence[int], others: Sequence[int], samples: Sequence[Tensor]
) -> Iterator[tuple[int, list[int], int]]:
    """Of each of ``members`` those of the others for which there are equally many draws, and how many."""
    for b in members:
        counts = {a: draws_for(max(samples[a].shape[1], samples[b].shape[1])) for a in others}
        for count in dict.fromkeys(counts.values()):
            yield b, [a for a in others if counts[a] == count], count
