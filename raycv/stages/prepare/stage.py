"""`raycv prepare`: decode and resize all images of a set once, and store them so that any is read alone."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raycv.config import PrepareConfig
from raycv.data.prepared import FORMAT, MANIFEST, Manifest, PreparedReader, read_manifest
from raycv.data.preprocessing import Resize
from raycv.data.readers import EMBEDDED
from raycv.data.sources import Source
from raycv.distributed.pieces import run_pieces
from raycv.distributed.ray_cluster import CPUS
from raycv.errors import UserError
from raycv.progress import answer, doing, say
from raycv.run import names
from raycv.run.places import overlap
from raycv.run.store import RunStore
from raycv.stages.prepare.files import PARTS, Folder, Maker, Portion, check_all, described, portions, sources_of
from raycv.stages.prepare.memory import actor_need
from raycv.stages.prepare.verifying import verify


def prepare(config: PrepareConfig, store: RunStore) -> None:
    """Write the images of ``config.data`` to ``store``, all splits that there are, and ``prepared.json`` last of all.

    Does nothing where they are there; goes on from the files of an interrupted call. Raises UserError for images that
    cannot be decoded, are prepared already, or a folder that has other content or the images themselves. With
    ``config.verify`` only checks what is there.
    """
    if config.verify:
        verify(store)
        return
    if config.data != EMBEDDED and overlap(config.data, store.uri):
        raise UserError(
            f"{store.uri} is in the folder of the images themselves, {config.data}, or they are in it; name another "
            "with --to."
        )
    sources = sources_of(config)
    first = next(iter(sources.values()))
    resize = Resize(config.size, config.fit)
    if isinstance(first.reader, PreparedReader):
        raise UserError(f"{config.data} holds prepared images; name the images that they were made of.")
    work = [portion for split, source in sources.items() for portion in portions(split, source, config)]
    if _is_done(store, work):
        say(f"prepare: already finished, nothing to do; the images are in {store.uri}")
        return
    folder = Folder(store)
    images = sum(map(len, sources.values()))
    say(f"prepare: {images:,} images of {config.data}, in {len(work):,} files")
    maker = Maker(sources, resize, config.format)
    run_pieces(folder, "prepare", work, maker.on, CPUS, actor_need(resize), unit="files")
    with doing("prepare: writing the index"):
        manifest = _finish(folder, work, first, resize, config)
    size = sum(file.bytes for files in manifest.splits.values() for file in files)
    answer(f"prepare: {images:,} images, {size:,} bytes, in {store.uri}")


def _is_done(store: RunStore, work: list[Portion]) -> bool:
    """Whether the folder has these images. Raises UserError where it has something else."""
    if store.exists(MANIFEST):
        manifest = read_manifest(store.uri)
        made = [file.name.rpartition(".")[0] for files in manifest.splits.values() for file in files]
        if made == [portion.name for portion in work]:
            return True
        raise UserError(
            f"{store.uri} holds other prepared images ({manifest.size} pixels, {manifest.fit}, {manifest.encoding}); "
            "name a new folder with --to."
        )
    others = store.others(names.is_of_prepared) or _indices_of_others(store)
    if others:
        raise UserError(f"{store.uri} is not empty, it has {names.in_words(others)}; name a new folder with --to.")
    return False


def _indices_of_others(store: RunStore) -> list[str]:
    """Files index.parquet beside which there is nothing else of ours: other data sets have files of that name, too."""
    there = store.list("")
    indices = [path for path in there if path.endswith("/index.parquet")]
    return [path for path in indices if not any(f"{path.split('/')[0]}/" in p for p in there if p not in indices)]


def _finish(folder: Folder, work: list[Portion], first: Source, resize: Resize, config: PrepareConfig) -> Manifest:
    """Write the indices and what describes them; remove what an earlier call has left of other images."""
    store, files, rows = folder.store, dict[str, list[Any]](), dict[str, list[pa.Table]]()
    for portion, part in check_all(folder, work):
        files.setdefault(portion.split, []).append(described(portion.name, part))
        rows.setdefault(portion.split, []).append(part.replace_schema_metadata())
    for split, parts in rows.items():
        buffer = io.BytesIO()
        pq.write_table(pa.concat_tables(parts, promote_options="default"), buffer, write_page_checksum=True)
        store.write(f"{split}/index.parquet", buffer.getvalue())
    manifest = Manifest(
        format=FORMAT,
        size=resize.size,
        fit=resize.fit,
        interpolation=resize.interpolation,
        encoding=config.format,
        classes=first.classes,
        class_names=first.reader.class_names,
        splits={split: tuple(of) for split, of in files.items()},
    )
    kept = {file.name for of in files.values() for file in of} | {f"{split}/index.parquet" for split in files}
    for path in store.sizes():  # also what a killed writer has left
        if path.split("/")[0] in files and path not in kept:
            store.remove(path)  # of an earlier call for other images
    store.write_json(MANIFEST, manifest.model_dump(mode="json"))
    store.remove(PARTS)
    return manifest
