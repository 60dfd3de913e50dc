"""`raycv export`: tables, figures and report of a run in another place, without weights and statistics."""

from __future__ import annotations

import re
import shutil
from typing import IO

from raycv.config import ExportConfig
from raycv.errors import UserError
from raycv.progress import Progress, answer
from raycv.run import lease, names, record
from raycv.run.places import overlap
from raycv.run.store import RunStore
from raycv.stages.registry import NAMES

RESULTS = re.compile(r"tables/[^.].*|figures/.*|report\.html|networks/[^/]+/network\.json")


def export(config: ExportConfig, store: RunStore) -> None:
    """Copy the results, run.json last: what has it is a whole run to read.

    Raises UserError where the place is not empty or in the run, and while a stage is being done. What was copied is
    removed again where the export fails.
    """
    record.check_there(store)
    if config.to is None:
        raise UserError("raycv export needs --to, a new folder or s3://bucket/prefix for the results.")
    for stage in NAMES:
        found = lease.state(store, stage)
        if found is not None and found.alive:
            raise UserError(f"{stage} of {store.uri} is being done by {found.holder}; export it when that has ended.")
    to = RunStore(config.to)
    if overlap(store.uri, to.uri):
        raise UserError(f"{to.uri} and the run {store.uri} are in one another; name a new folder elsewhere with --to.")
    if others := to.others():
        raise UserError(f"{to.uri} is not empty, it has {names.in_words(others)}; name a new folder with --to.")
    sizes = {path: size for path, size in store.sizes().items() if RESULTS.fullmatch(path) and names.is_ours(path)}
    copied = [record.PATH]
    try:
        with Progress("export", len(sizes), "files") as progress:
            for path in sizes:
                copied.append(path)
                _copy(store, path, to)
                progress.advance()
        to.write(record.PATH, store.read(record.PATH))
    except BaseException:
        for path in copied:
            to.remove(path)
        raise
    answer(f"export: {len(sizes) + 1:,} files, {sum(sizes.values()):,} bytes, in {to.uri}")


def _copy(store: RunStore, path: str, to: RunStore) -> None:
    def copy(file: IO[bytes]) -> None:
        with to.create(path) as target:
            shutil.copyfileobj(file, target)

    store.open(path, copy)
