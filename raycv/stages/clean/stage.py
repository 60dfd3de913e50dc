"""`raycv clean`: remove what stages that did not finish, and earlier passes, have left. Never what is finished."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from raycv import statistics
from raycv.config import CleanConfig
from raycv.progress import answer
from raycv.run import record
from raycv.run.paths import PARTS, STATISTICS
from raycv.run.store import TEMPORARY, RunStore
from raycv.stages.registry import STAGES

LEFT = (  # what is removed as a whole, by the pattern of its folder
    ("files that were never completed", rf".*{re.escape(TEMPORARY)}"),
    ("parts of tables whose stage did not finish", rf"{PARTS}/[^/]+"),
    ("tables that were never put in place", r"tables/\.[^/]+"),
    *(left for stage in STAGES for left in stage.scratch.items()),
)
EARLIER = "statistics of an earlier pass, or of one that did not finish"


def clean(_config: CleanConfig, store: RunStore) -> None:
    """Remove leftovers and say what they were. Work that the same command would have taken up is then done again."""
    record.check_there(store)
    sizes = store.sizes()
    current = statistics.read(store).folder if STATISTICS in sizes else None
    folders: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for path, size in sizes.items():
        left = _leftover(path, current)
        if left is not None:
            folders[left.what][left.folder].append(size)
    for what, found in folders.items():
        for folder in found:
            store.remove(folder)
        removed = [size for of_folder in found.values() for size in of_folder]
        answer(f"clean: removed {what}: {len(removed):,} files, {sum(removed):,} bytes")
    for above in ("sweeps", PARTS):
        store.remove_folder_if_empty(above)
    if not folders:
        answer(f"clean: nothing to remove in {store.uri}")


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
