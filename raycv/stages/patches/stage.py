"""`raycv patches`: cut out the top patches, draw what in them drives each unit, and sample its activations."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from raycv import statistics
from raycv.config import PatchesConfig
from raycv.data.sampling import IMAGES, permuted
from raycv.data.sources import Source
from raycv.data.texts import Documents
from raycv.distributed import ray_cluster
from raycv.distributed.pool import Pool
from raycv.networks.catalogue import check_buildable
from raycv.networks.stored import stored, weights_content
from raycv.progress import Progress, detail, say
from raycv.run import record, tables
from raycv.run.fingerprint import fingerprint
from raycv.run.names import is_ours
from raycv.run.schema import SAMPLED
from raycv.run.store import RunStore
from raycv.stages.patches.contexts import contexts
from raycv.stages.patches.memory import actor_need
from raycv.stages.patches.pictures import UNITS
from raycv.stages.patches.renderer import Chunk, PatchRenderer, RenderingInputs, SampledLayer
from raycv.stages.patches.rows import sampled_images, top_patches
from raycv.statistics.reader import Statistics

FORMAT = 4  # of the tables; part of their identity
WRITTEN: tuple[str, ...] = ("top_patches", "patch_pictures", "sampled_images", "sampled_activations")

Piece = Chunk | SampledLayer


def patches(config: PatchesConfig, store: RunStore) -> None:
    """Write the tables top_patches and patch_pictures, sampled_images and sampled_activations.

    Only the images that stand in the first and in the third are read again. Of language models write the table
    contexts.

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
    seeing = [network for network in networks if network.spec.sees_images]
    if not seeing:
        _without_images(found, source, store)
        facts: dict[str, Any] = {"seconds": {"patches": round(time.time() - began, 1)}, "units": 0}
        facts["class_names"] = None
        record.finish(store, "patches", identity, config.model_dump(mode="json"), facts)
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
    written: list[list[Piece]] = [[*chunks], [*_layers(found)]]
    numbers = tuple(permuted(np.arange(min(SAMPLED, found.images)), found.images, IMAGES).tolist())
    drawing = RenderingInputs(store, f"patches-{identity}", networks, source, numbers, gpus is not None)
    tables.write(store, "sampled_images", sampled_images(source, seeing[0].spec.preprocessing, numbers))
    places = partial(ray_cluster.Places, "patches", need, networks=len(seeing), gpus=gpus)
    device = _draw(drawing, [piece for pieces in written for piece in pieces], places)
    for pieces in written:
        with tables.Writer(store, pieces[0].table, (piece.layer for piece in pieces)) as writer:
            for piece in pieces:
                writer.add(piece.layer, tables.read_part(store, piece.path(drawing.folder)))
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


def _without_images(found: Statistics, source: Source, store: RunStore) -> None:
    """Of language models write their contexts; of recorded activations nothing is there to draw."""
    if isinstance(source.reader, Documents):
        with tables.Writer(store, "contexts", found.layers) as writer:
            for layer, rows in contexts(found, source.reader):
                writer.add(layer, rows)
        detail(f"patches: {writer.uri}")
        return
    for name in WRITTEN:
        store.remove(f"tables/{name}")
    say("patches: recorded activations have no images, so there is nothing to draw")


def is_done(_config: PatchesConfig, store: RunStore) -> bool:
    """Whether the run has the pictures of its statistics."""
    found = statistics.read(store)
    written = WRITTEN if any(spec.sees_images for spec in found.networks) else ()
    if any(spec.tokens for spec in found.networks):
        written = ("contexts",)
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


def _layers(found: Statistics) -> list[SampledLayer]:
    """Every layer of every network that sees images, layer by layer."""
    return [
        SampledLayer(network, layer, found.widths(layer)[network])
        for layer in found.layers
        for network, spec in enumerate(found.networks)
        if spec.sees_images
    ]


def _units(piece: Piece) -> int:
    """The units that a piece draws."""
    return piece.units if isinstance(piece, Chunk) else 0


def _draw(drawing: RenderingInputs, pieces: list[Piece], places: Callable[..., ray_cluster.Places]) -> str:
    """Do every piece that is not stored yet; on what kind of device. ``places`` are for ``pieces`` of work."""
    there = {path for path in drawing.store.list(drawing.folder) if is_ours(path)}
    table_of = {piece.path(drawing.folder): piece.table for piece in pieces}
    damaged = [
        path for path in sorted(there & table_of.keys()) if not tables.is_part(drawing.store, path, table_of[path])
    ]
    if damaged:
        say(f"patches: drawing again what an interrupted run left damaged: {', '.join(damaged)}")
    missing = [piece for piece in pieces if piece.path(drawing.folder) not in there.difference(damaged)]
    create = PatchRenderer.options(num_cpus=1, num_gpus=int(drawing.use_gpu)).remote  # type: ignore[attr-defined]
    pool = Pool(lambda: create(drawing), places(pieces=len(missing)).checked())
    with Progress("patches", sum(map(_units, pieces)), "units") as progress:
        progress.resume_at(sum(map(_units, pieces)) - sum(map(_units, missing)))
        try:
            pool.run(
                missing,
                lambda actor, piece: (actor.draw if isinstance(piece, Chunk) else actor.sample).remote(piece),
                lambda piece, _result: progress.advance(_units(piece), piece.layer),
            )
        finally:
            pool.close()
    return pool.device
