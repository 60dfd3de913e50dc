"""Preparing images in this process, without Ray."""

from __future__ import annotations

from typing import Any

from raycv.config import PrepareConfig
from raycv.data.preprocessing import Resize
from raycv.run.store import RunStore
from raycv.stages.prepare.files import Folder, Maker, Portion, portions, sources_of
from raycv.stages.prepare.stage import prepare


def work_of(config: PrepareConfig) -> tuple[Maker, list[Portion]]:
    """What makes files, and all that are to be made."""
    sources = sources_of(config)
    maker = Maker(sources, Resize(config.size, config.fit), config.format)
    return maker, [portion for split in sources for portion in portions(split, sources[split], config)]


def prepared(store: RunStore, **settings: Any) -> RunStore:
    """The store, with prepared images: all files are made here, and the command then has nothing left but to end."""
    config = PrepareConfig(**settings)
    maker, work = work_of(config)
    folder = Folder(store)
    for portion in work:
        if portion.name not in folder.finished():
            folder.keep(portion.name, maker(portion))
    prepare(config, store)
    return store
