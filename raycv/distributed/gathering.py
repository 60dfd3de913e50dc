"""Waiting for GPUs that an autoscaler starts, for work that begins in all places at once, as training does."""

from __future__ import annotations

import time
from dataclasses import replace

from ray.util import placement_group, remove_placement_group

from raycv.distributed import unpublished_ray
from raycv.distributed.sizing import Gpus
from raycv.distributed.waiting import Waiting
from raycv.progress import say

SETTLED = 60.0  # seconds without a node on its way, after which no more are waited for


def gathered(stage: str, gpus: Gpus, workers: int) -> Gpus:
    """The GPUs that ``workers`` share, once an autoscaler has started those that they can use, or all that it may.

    A placement group asks for each, and goes with the driver: nothing stays asked for. Returns ``gpus`` where they are
    there already.
    """
    wanted = gpus.used(workers)
    if wanted <= gpus.there:
        return gpus
    say(f"{stage}: {gpus.awaited(wanted)}")
    asked = [placement_group([{"GPU": 1}]) for _ in range(wanted)]
    try:
        waiting, changed, came = Waiting(), time.monotonic(), 0
        while came < wanted:
            time.sleep(1)
            before, came = came, sum(one.wait(0) for one in asked)
            if came != before or unpublished_ray.is_starting_nodes() or not came:
                changed = time.monotonic()
            if time.monotonic() - changed > SETTLED:
                break
            waiting.look(going_on=came > 0)
    finally:
        for one in asked:
            remove_placement_group(one)
    return replace(gpus, there=came, may_be=0.0)
