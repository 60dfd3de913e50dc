"""How many GPUs a stage gets: by its work and what may come, not by what happens to be alive when it starts. Pure.

And how many CPUs: as many as the nodes have, of which none can lend to another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True)
class Gpus:
    """GPUs that a stage may use.

    ``there``: alive now. ``may_be``: how many there may be once an autoscaler has started what it may; infinite where
    nobody knows, 0 where none is asked to start any. ``most``: as many as the user allows, infinite where that
    is not said.
    """

    there: float
    may_be: float = 0.0
    most: float = math.inf

    def for_actors(self, pieces: int, networks: int) -> int:
        """How many actors of one GPU each do ``pieces`` of work on ``networks``, one or more.

        All GPUs that are there are used. What an autoscaler starts is paid for: it is asked for one for each network,
        or for as many as the user names.
        """
        asked = min(self.may_be, networks if math.isinf(self.most) else self.most)
        return max(1, int(min(pieces, self.most, max(self.there, asked))))

    def share(self, workers: int) -> float:
        """The part of a GPU that each of ``workers``, which run at the same time, gets: a whole one where it can be."""
        usable = min(self.most, max(self.there, self.may_be))
        return 1 / math.ceil(workers / usable) if 0 < usable < workers else 1.0

    def used(self, workers: int) -> int:
        """How many GPUs ``workers`` take."""
        return math.ceil(workers / round(1 / self.share(workers)))

    def awaited(self, wanted: int) -> str:
        """A clause on what is there of ``wanted`` GPUs; empty where all are."""
        if wanted <= self.there:
            return ""
        return (
            f"asks for {_counted(wanted)}, {self.there:g} of which {'is' if self.there == 1 else 'are'} there; the "
            f"autoscaler starts nodes for the rest, which takes minutes, and --gpus limits how many"
        )

    def for_training(self, networks: int, workers: int) -> str:
        """A clause on the GPUs of ``networks`` with ``workers`` each: shared, or left idle."""
        used, share = self.used(networks * workers), self.share(networks * workers)
        of_all = f"{used} of {self.there:g} GPUs" if used < self.there else _counted(used)
        each = "a GPU each" if workers == 1 else f"{workers} GPUs each"
        how = each if share == 1 else f"up to {round(1 / share)} workers on each GPU"
        more = int(min(self.there, self.most)) // networks
        idle = f"; --workers {more} would give each network {more}" if used < self.there and more > workers else ""
        return f"{networks} networks on {of_all}, {how}{idle}"


def cpus_of_each(workers: int, nodes: Sequence[float]) -> float:
    """The CPUs of each of ``workers`` that run at the same time on ``nodes`` with so many: the most with which all fit.

    Whole ones or, where there are fewer than workers, an equal part of one.
    """
    whole = range(int(sum(nodes) // workers), 0, -1)
    parts = (math.floor(100 / of_one) / 100 for of_one in range(2, 101))
    fitting = (cpus for cpus in chain(whole, parts) if sum(int(node / cpus + 1e-9) for node in nodes) >= workers)
    return next(fitting, 0.01)


def _counted(gpus: int) -> str:
    return f"{gpus} GPU{'s' * (gpus != 1)}"
