"""Independent Ray tasks whose results are taken in order, with few in hand and none where it cannot fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from raycv.distributed import ray_cluster
from raycv.distributed.ray_cluster import users_mistake
from raycv.distributed.waiting import Waiting
from raycv.errors import StageFailed

Item = TypeVar("Item")
Result = TypeVar("Result")

TASK_DEATHS = 3  # of a task's worker after which it is tried again


def in_order(
    function: Callable[[Any, Item], Result],
    shared: Any,
    items: Sequence[Item],
    needed: int,
    gpus: Callable[[Item], float] = lambda _item: 0.0,
    at_once: int | None = None,
) -> Iterator[Result]:
    """Yield ``function(shared, item)`` of every item, in the order of the items.

    Each is computed by a task of one CPU and of the part of a GPU that ``gpus`` gives for its item. A task is given
    ``needed`` bytes of memory, so that no more of them run on a node than fit; where no node has as much, one runs
    on a node. At most two for each CPU are computed ahead, or ``at_once``. Raises StageFailed where a task's worker
    died more than `TASK_DEATHS` times, UserError if the user can fix what an item raised, and else what it raised.
    """
    largest = max(int(node.get("memory", 0)) for node in ray_cluster.that_compute())
    task = ray.remote(num_cpus=1, memory=min(needed, largest), max_retries=TASK_DEATHS)(function)
    reference = ray.put(shared)
    waiting = deque(items)
    running: deque[tuple[Any, float]] = deque()  # with the part of a GPU that each asks for
    try:
        while waiting or running:
            while waiting and len(running) < (at_once or 2 * max(1, int(ray_cluster.amount("CPU")))):
                item = waiting.popleft()
                running.append((task.options(num_gpus=gpus(item)).remote(reference, item), gpus(item)))
            yield _result(*running.popleft(), needed)
    finally:
        for left, _ in running:
            ray.cancel(left)


def _result(reference: Any, gpus: float, needed: int) -> Any:
    for_nodes = Waiting({"CPU": 1.0} | ({"GPU": gpus} if gpus else {}))
    while not ray.wait([reference], timeout=1.0)[0]:
        for_nodes.look(going_on=False)
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise (users_mistake(error) or error) from error
    except RayError as error:
        raise StageFailed(
            f"a task has died {TASK_DEATHS + 1} times, most likely for lack of memory: it needs some "
            f"{needed / 2**30:.1f} GiB. The same command continues from the stages that are finished."
        ) from error
