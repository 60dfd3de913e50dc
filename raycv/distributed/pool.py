"""A pool of equal Ray actors that survives the death of any of them.

The driver gives each actor a few items ahead. When an actor dies, its items go back to the head of the queue and any
free actor does them, so a lost node delays nothing. Ray restarts the actor where there is room, and it gets work again
once it answers. Items must be idempotent, because one may be done twice. Actors on a node that is drained with notice
get no new work and are replaced elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from raycv import telemetry
from raycv.distributed import unpublished_ray
from raycv.distributed.ray_cluster import users_mistake
from raycv.distributed.waiting import Waiting
from raycv.errors import UserError

Item = TypeVar("Item", bound=Hashable)

LOOK = 1.0  # seconds between two looks for nodes that are drained
AHEAD = 2  # items in hand per actor: one at work, one waiting
DEATHS_PER_ITEM = 4


class Pool:
    """Actors made by ``create``, each with a method ``ready`` that returns when it can work.

    ``size``: how many; asked again as nodes come and go. More are made while items wait for them. Those that have found
    no node yet, or lost theirs, are given up where there are more than that. What ``ready`` returns is the kind of
    device on which an actor works, of which ``kinds`` has all. ``most``: how many have been ready at a time.
    """

    def __init__(self, create: Callable[[], Any], size: Callable[[], int]) -> None:
        self._create, self._size = create, size
        self._waiting = Waiting()
        self._probes: dict[Any, Any] = {}
        self._add(size())
        self.kinds: set[str] = set()
        self.most = 0
        self._ready: list[Any] = []
        self._retired: list[Any] = []
        self._looked = 0.0

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def device(self) -> str:
        """The kinds of device on which actors have worked."""
        return " and ".join(sorted(self.kinds))

    def close(self) -> None:
        """End the actors."""
        for actor in [*self._ready, *self._retired, *self._probes.values()]:
            ray.kill(actor)

    def run(
        self,
        items: Iterable[Item],
        call: Callable[[Any, Item], Any],
        done: Callable[[Item, Any], None],
    ) -> None:
        """Call ``call(actor, item)`` for every item as actors become free, and ``done(item, result)`` as each ends.

        Tells the user what it waits for if no actor can work for half a minute. Raises what an item raised, and
        UserError if too many actors died while they had the same item.
        """
        queue = deque(items)
        running: dict[Any, tuple[Any, Item]] = {}
        deaths: Counter[Item] = Counter()
        try:
            while queue or running:
                if time.monotonic() - self._looked > LOOK:
                    self._looked = time.monotonic()
                    self._leave_draining_nodes(running)
                    self._resize(len(queue))
                self._hand_out(queue, running, deaths, call)
                ended, _ = ray.wait([*running, *self._probes], timeout=1.0)
                self._settle([ref for ref in ended if ref in self._probes])
                for ref in [ref for ref in ended if ref in running]:
                    actor, item = running.pop(ref)
                    try:
                        result = ray.get(ref)
                    except RayTaskError as error:
                        raise (users_mistake(error) or error) from error
                    except RayError:
                        deaths[item] += 1
                        telemetry.count("raycv_deaths", work="item")
                        if deaths[item] > DEATHS_PER_ITEM:
                            raise UserError(
                                f"{item} could not be done: {deaths[item]} actors died with it in hand, most likely "
                                "for lack of memory. Use fewer --actors or a smaller --shard-size."
                            ) from None
                        queue.appendleft(item)
                        self._suspect(actor)
                    else:
                        done(item, result)
                self._waiting.look(going_on=bool(self._ready))
        finally:
            for ref in running:
                ray.cancel(ref)

    def _leave_draining_nodes(self, running: dict[Any, tuple[Any, Item]]) -> None:
        """Replace actors on nodes that will soon be gone; such an actor ends what it has in hand and gets no more."""
        draining = unpublished_ray.draining()
        leaving = [actor for actor in self._ready if draining and unpublished_ray.node_of(actor) in draining]
        for actor in leaving:
            self._ready = [known for known in self._ready if known is not actor]
            self._retired.append(actor)
            self._add(1)
        busy = {id(actor) for actor, _ in running.values()}
        for actor in [actor for actor in self._retired if id(actor) not in busy]:
            ray.kill(actor)
            self._retired = [known for known in self._retired if known is not actor]

    def _add(self, actors: int) -> None:
        for actor in (self._create() for _ in range(actors)):
            self._probes[actor.ready.remote()] = actor

    def _resize(self, waiting: int) -> None:
        """Have as many actors as there are to be, if items wait for them."""
        wanted, there = self._size(), len(self._ready) + len(self._probes)
        self._add(min(wanted - there, waiting))
        nowhere = [ref for ref, actor in self._probes.items() if there > wanted and not unpublished_ray.node_of(actor)]
        for ref in nowhere[::-1][: max(0, there - wanted)]:  # the last first: others may be about to start
            ray.kill(self._probes.pop(ref))

    def _hand_out(
        self,
        queue: deque[Item],
        running: dict[Any, tuple[Any, Item]],
        deaths: Counter[Item],
        call: Callable[[Any, Item], Any],
    ) -> None:
        """Give the actors work ahead. An item that an actor died with goes alone, to be blamed only for itself."""
        in_hand: dict[int, list[Item]] = {id(actor): [] for actor in self._ready}
        for actor, item in running.values():
            in_hand.setdefault(id(actor), []).append(item)
        for actor in sorted(self._ready, key=lambda actor: len(in_hand[id(actor)])):
            held = in_hand[id(actor)]
            while queue and len(held) < (1 if any(deaths[item] for item in [*held, queue[0]]) else AHEAD):
                held.append(queue.popleft())
                running[call(actor, held[-1])] = (actor, held[-1])

    def _suspect(self, actor: Any) -> None:
        """Give an actor no more work until it answers again."""
        if any(actor is known for known in self._ready):
            self._ready = [known for known in self._ready if known is not actor]
            self._probes[actor.ready.remote()] = actor

    def _settle(self, probes: list[Any]) -> None:
        for ref in probes:
            actor = self._probes.pop(ref)
            try:
                self.kinds.add(ray.get(ref))
                self._ready.append(actor)
                self.most = max(self.most, len(self._ready))
            except RayTaskError as error:
                raise (users_mistake(error) or error) from error
            except ActorDiedError:
                self._add(1)
            except RayError:
                self._probes[actor.ready.remote()] = actor
