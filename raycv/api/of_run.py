"""The layers of a run as groups to compare, from what its pass has left. Needs neither Ray nor PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from raycv.analysis.arrays import Floats
from raycv.analysis.partners import largest_p_values
from raycv.analysis.rotations import Rotations
from raycv.api.group import Group
from raycv.api.kept import KeptProducts, Side
from raycv.api.members import Member
from raycv.memory import available
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import ACROSS, NETS, Key
from raycv.statistics.moments import gram_bytes
from raycv.statistics.reader import Statistics, tested_against

KEPT = 0.25  # of the memory to spare, for the products of all layers at once


class GroupsOfRun(Sequence[Group]):
    """The layers that are compared with each other, each read when it is asked for; all with all where a run has that.

    What was read is kept as long as all layers fit a part of the memory, and else until another one is asked for.
    ``members``: of every group, which are known without reading.
    """

    def __init__(self, found: Statistics) -> None:
        self._found, self._read = found, dict[int, Group]()
        self._keys = [Key(ACROSS, ACROSS)] if ACROSS in found.groups else [Key(NETS, layer) for layer in found.layers]
        self.members = [_members(found, key) for key in self._keys]
        needed = sum(gram_bytes(found.of_widths[key]) * found.folds[key] for key in self._keys)
        self._keeps_all = needed < KEPT * available()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Group:  # type: ignore[override]  # slices are not asked for
        if number not in self._read:
            if number >= len(self._keys):
                raise IndexError(number)
            if not self._keeps_all:
                self._read.clear()
            self._read[number] = self._made(self._keys[number], self.members[number])
        return self._read[number]

    def _made(self, key: Key, members: list[Member]) -> Group:
        found = self._found
        tested = None if key.group == ACROSS else DrawnInPass(found, key.layer)
        kept = KeptProducts(found.layer(key.layer, key.group), None)
        return Group(members, kept, tested, dict(_unit_names(found.groups[key.group], key)), found.keep_rare)


def _members(found: Statistics, key: Key) -> list[Member]:
    if key.group == ACROSS:
        return [Member(spec.network, spec.places[0].module) for spec in found.groups[ACROSS]]
    return [Member(spec.name, spec.place(key.layer).module) for spec in found.networks]


def _unit_names(specs: Sequence[NetworkSpec], key: Key) -> Iterator[tuple[Member, tuple[str, ...]]]:
    """Those of the units of recordings, as far as they have any."""
    for spec in specs:
        names = spec.names_of_units(key.layer)
        if names:
            yield Member(spec.network, spec.place(key.layer).module), names


class DrawnInPass:
    """The draws of one layer that the pass has left."""

    def __init__(self, found: Statistics, layer: str) -> None:
        self._found, self._layer = found, layer

    def activations(self, _name: str) -> None:
        """None: the pass has kept no samples of all layers."""

    def p_values(
        self, _left_out: Sequence[np.ndarray], sides: Sequence[Side], _rotations: Rotations
    ) -> Mapping[tuple[int, int], Floats]:
        """See `raycv.api.tested.TestedSamples`; the units that were left out then are those of the run."""
        values: dict[tuple[int, int], Floats] = {}
        for pair in [pair for first, second in sides for pair in product(first, second)]:
            drawn = {n: self._found.draws(self._layer, n, others=pair) for n in pair}
            for a, b in (pair, pair[::-1]):
                against = tested_against(drawn, a, b)
                values[a, b] = largest_p_values(against) if against else np.zeros(1)  # rotations alone
        return values
