"""What an operator can watch: counters at Ray's Prometheus port.

Counters cost nothing where Ray is not running. This file does not import Ray: it uses it where it is loaded.
"""

from __future__ import annotations

import sys
from typing import Any

COUNTERS = {  # name: (meaning, tags); at the port as ray_NAME_total
    "raycv_images": ("images passed through the networks, in training or in the pass", ("stage",)),
    "raycv_shards": ("shards of the pass that are done", ()),
    "raycv_deaths": ("actors, trials and training workers that have died and were replaced", ("work",)),
    "raycv_retries": ("operations on the store that were tried again", ("operation",)),
    "raycv_bytes_read": ("bytes of the files of runs that were read", ()),
    "raycv_bytes_written": ("bytes of the files of runs that were written", ()),
}
_made: dict[str, Any] = {}


def count(name: str, amount: float = 1, **tags: str) -> None:
    """Add ``amount`` to a counter of this process, if it belongs to a Ray cluster."""
    ray = sys.modules.get("ray")
    if ray is None or amount <= 0 or not ray.is_initialized():
        return
    if name not in _made:
        from ray.util.metrics import Counter

        meaning, keys = COUNTERS[name]
        _made[name] = Counter(name, description=meaning, tag_keys=keys)
    _made[name].inc(amount, tags)
