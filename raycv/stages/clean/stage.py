"""`raycv clean`: remove what stages that did not finish, and earlier passes, have left. Never what is finished."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from raycv import statistics
from raycv.config import CleanConfig
from raycv.progress import answer
from raycv.run import names, record
from raycv.run.paths import PARTS, STATISTICS
from raycv.run.store import RunStore
from raycv.stages.registry import STAGES

LEFT = (  # what is removed as a whole, by the pattern of its folder
    ("files that were never completed", rf"(?:.*/)?{names.UNFINISHED}"),
    ("parts of tables whose stage did not finish", rf"{PARTS}/[^/]+"),
    ("tables that were never put in place", r"tables/\.[^/]+"),
    *(left for stage in STAGES for left in stage.scratch.items()),
)
EARLIER = "statistics of an earlier pass, or of one that did not finish"


def clean(_config: CleanConfig, store: RunStore) -> None:
    """Remove leftovers and say what they were. Work that the same command would have taken up is then done again.

    Files among them that raycv has not written stay, and are named.
    """
    record.check_there(store)
    sizes = store.sizes()
    current = statistics.read(store).folder if STATISTICS in sizes else None
    left = {path: found for path in sizes if (found := _leftover(path, current)) is not None}
    removed: dict[str, list[str]] = defaultdict(list)
    for what, folder in dict.fromkeys(left.values()):
        removed[what] += store.remove(folder)
    for what, paths in removed.items():
        if paths:
            answer(f"clean: removed {what}: {len(paths):,} files, {sum(sizes.get(p, 0) for p in paths):,} bytes")
    for above in ("sweeps", PARTS):
        store.remove_folder_if_empty(above)
    if not any(removed.values()):
        answer(f"clean: nothing to remove in {store.uri}")
    stay = sorted(left.keys() - {path for paths in removed.values() for path in paths})
    if stay:
        answer(f"clean: left {names.in_words(stay)}, which raycv has not written; remove what you do not need")


class _Left(NamedTuple):
    """What a file belongs to that was left behind, and the folder (or file) to remove."""

    what: str
    folder: str


def _leftover(path: str, current: str | None) -> _Left | None:
    """None for a file that stays; ``current`` is the folder of the run's statistics."""
    for what, pattern in LEFT:
        match = re.match(rf"(?:{pattern})(?=/|$)", path)
        if match:
            return _Left(what, match[0])
    match = re.match(r"statistics/[^/]+(?=/)", path)
    if match and match[0] != current:
        return _Left(EARLIER, match[0])
    return None
