"""`raycv export`: tables, figures and report of a run in another place, and with --card its networks for the Hub."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from raycv.config import ExportConfig
from raycv.errors import UserError
from raycv.progress import Progress, answer, doing
from raycv.run import lease, names, record
from raycv.run.places import overlap
from raycv.run.store import RunStore
from raycv.stages.export.cards import write_cards
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
    with _cards(config, store) as cards:
        work: dict[str, Callable[[], object]] = {path: partial(_copy, store, path, to) for path in sizes}
        work |= {path: partial(_put, file, path, to) for path, file in cards.items()}
        work[record.PATH] = lambda: to.write(record.PATH, store.read(record.PATH))
        sizes |= {path: file.stat().st_size for path, file in cards.items()}
        begun = []
        try:
            with Progress("export", len(work), "files") as progress:
                for path, put in work.items():
                    begun.append(path)
                    put()
                    progress.advance()
        except BaseException:
            for path in begun:
                to.remove(path)
            raise
    answer(f"export: {len(work):,} files, {sum(sizes.values()):,} bytes, in {to.uri}")


@contextlib.contextmanager
def _cards(config: ExportConfig, store: RunStore) -> Iterator[dict[str, Path]]:
    """What --card adds, by its place in the export, made before anything is copied."""
    if not config.card:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        with doing("export: writing networks and cards"):
            write_cards(store, Path(folder))
        made = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        yield {path.relative_to(folder).as_posix(): path for path in made}


def _put(file: Path, path: str, to: RunStore) -> None:
    with file.open("rb") as source, to.create(path) as target:
        shutil.copyfileobj(source, target)


def _copy(store: RunStore, path: str, to: RunStore) -> None:
    def copy(file: IO[bytes]) -> None:
        with to.create(path) as target:
            shutil.copyfileobj(file, target)

    store.open(path, copy)
