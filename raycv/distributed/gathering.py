"""Waiting for GPUs that an autoscaler starts, for work that begins in all places at once, as training does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from raycv.distributed import unpublished_ray
from raycv.distributed.sizing import Gpus
from raycv.distributed.waiting import Waiting
from raycv.progress import say

SETTLED = 60.0  # seconds without a node on its way, after which no more are waited for,
LATEST = 900.0  # or since the last one came: one that cannot be had may be on its way for ever


def gathered(stage: str, gpus: Gpus, workers: int) -> Gpus:
    """The GPUs that ``workers`` share, once an autoscaler has started those that they can use, or all that it may.

    Waits for the first as long as it takes, and for more as long as nodes are on their way and come. A placement group
    asks for each, and goes with the driver: nothing stays asked for. Returns ``gpus`` where they are there already.
    """
    wanted = gpus.used(workers)
    if wanted <= gpus.there:
        return gpus
    say(f"{stage}: {gpus.awaited(wanted)}; with fewer it begins once none has been on its way for {SETTLED:g} s")
    asked = [placement_group([{"GPU": 1}]) for _ in range(wanted)]
    try:
        waiting, came, last = Waiting(), 0, time.monotonic()
        on_its_way = last
        while came < wanted:
            time.sleep(1)
            before, came, now = came, _there(asked), time.monotonic()
            if came != before or not came:
                last = on_its_way = now
            elif unpublished_ray.is_starting_nodes():
                on_its_way = now
            if now - on_its_way > SETTLED or now - last > LATEST:
                break
            waiting.look(going_on=came != before)
    finally:
        for one in asked:
            remove_placement_group(one)
    return replace(gpus, there=came, may_be=0.0)


def _there(asked: Sequence[PlacementGroup]) -> int:
    """How many of what has been asked for have a node; their own ``wait`` may say no where Ray is slow to answer."""
    tables = [placement_group_table(one) for one in asked]
    return sum(table.get("state") == "CREATED" for table in tables)
