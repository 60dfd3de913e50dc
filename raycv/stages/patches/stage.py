"""`raycv patches`: cut the top patches out of the images and draw what in them drives each unit."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pandas as pd

from raycv import statistics
from raycv.config import PatchesConfig
from raycv.distributed import ray_cluster
from raycv.distributed.pool import Pool
from raycv.networks.models import check_buildable
from raycv.networks.stored import stored, weights_content
from raycv.progress import Progress, detail, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.names import is_ours
from raycv.run.store import RunStore
from raycv.stages.patches.memory import actor_need
from raycv.stages.patches.pictures import UNITS
from raycv.stages.patches.renderer import Chunk, PatchRenderer, RenderingInputs
from raycv.stages.patches.rows import top_patches
from raycv.statistics.reader import Statistics

FORMAT = 3  # of the tables; part of their identity
WRITTEN = ("top_patches", "patch_pictures")


def patches(config: PatchesConfig, store: RunStore) -> None:
    """Write the tables top_patches and patch_pictures; only the images that stand in the first are read again.

    Does nothing where the run already has these pictures; reuses what an interrupted run of the stage has drawn.
    Raises UserError where there are no statistics, or the images are not those of the pass.
    """
    began = time.time()
    if is_done(config, store):
        say(f"patches: already finished, nothing to do; see {store.locate('tables/patch_pictures')}")
        return
    found = statistics.read(store)
    identity = _identity(found)
    source, networks = found.source(), tuple(stored(store))
    seeing = [network for network in networks if not network.spec.is_recorded]
    if not seeing:
        for name in WRITTEN:
            store.remove(f"tables/{name}")
        record.finish(store, "patches", identity, config.model_dump(mode="json"), {"units": 0, "class_names": None})
        say("patches: recorded activations have no images, so there is nothing to draw")
        return
    check_buildable(network.spec for network in seeing)
    for network in seeing:  # the actors read them too, but would say so only once they have started
        weights_content(store, network)
    rows = top_patches(found)
    ray_cluster.connect(store.uri, config.processors)
    gpus = ray_cluster.gpus(config.processors)
    need = actor_need([network.spec for network in seeing])
    ray_cluster.check_memory("patches", need)
    where = tables.write(store, "top_patches", rows)
    chunks = _chunks(found, rows)
    drawing = RenderingInputs(store, f"patches-{identity}", networks, source, gpus is not None)
    device = _draw(drawing, chunks, partial(ray_cluster.Places, "patches", need, networks=len(seeing), gpus=gpus))
    with tables.Writer(store, "patch_pictures", (chunk.layer for chunk in chunks)) as writer:
        for chunk in chunks:
            writer.add(chunk.layer, tables.read_part(store, chunk.path(drawing.folder)))
    units = int(sum(chunk.units for chunk in chunks))
    facts = {
        "seconds": {"patches": round(time.time() - began, 1)},
        "units": units,
        "device": device,
        "class_names": source.reader.class_names,
    }
    record.finish(store, "patches", identity, config.model_dump(mode="json"), facts)
    store.remove(drawing.folder)
    detail(f"patches: {where}")
    detail(f"patches: {writer.uri}")


def is_done(_config: PatchesConfig, store: RunStore) -> bool:
    """Whether the run has the pictures of its statistics."""
    found = statistics.read(store)
    written = () if all(spec.is_recorded for spec in found.networks) else WRITTEN
    return record.finished(store, "patches", _identity(found)) and tables.are_whole(store, written)


def _identity(found: Statistics) -> str:
    return fingerprint(FORMAT, found.folder)


def _chunks(found: Statistics, rows: pd.DataFrame) -> list[Chunk]:
    """All units that have top patches, ``UNITS`` at a time, layer by layer."""
    units = rows.groupby(["net", "layer"])["unit"].max() + 1
    return [
        Chunk(network, layer, first, min(first + UNITS, units[name, layer]))
        for layer in found.layers
        for network, name in enumerate(found.names)
        if (name, layer) in units
        for first in range(0, units[name, layer], UNITS)
    ]


def _draw(drawing: RenderingInputs, chunks: list[Chunk], places: Callable[..., ray_cluster.Places]) -> str:
    """Draw every chunk that is not stored yet; on what kind of device. ``places`` are for ``pieces`` of work."""
    there = {path for path in drawing.store.list(drawing.folder) if is_ours(path)}
    damaged = [path for path in sorted(there) if not tables.is_part(drawing.store, path, "patch_pictures")]
    if damaged:
        say(f"patches: drawing again what an interrupted run left damaged: {', '.join(damaged)}")
    missing = [chunk for chunk in chunks if chunk.path(drawing.folder) not in there.difference(damaged)]
    create = PatchRenderer.options(num_cpus=1, num_gpus=int(drawing.use_gpu)).remote  # type: ignore[attr-defined]
    pool = Pool(lambda: create(drawing), places(pieces=len(missing)).checked())
    with Progress("patches", sum(chunk.units for chunk in chunks), "units") as progress:
        progress.resume_at(sum(chunk.units for chunk in chunks) - sum(chunk.units for chunk in missing))
        try:
            pool.run(
                missing,
                lambda actor, chunk: actor.draw.remote(chunk),
                lambda chunk, _result: progress.advance(chunk.units, chunk.layer),
            )
        finally:
            pool.close()
    return pool.device
