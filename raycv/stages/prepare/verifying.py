"""`raycv prepare --verify`: whether prepared images are, to the last byte, those that were prepared."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from raycv.data.prepared import ImageFile, images_of_index, read_manifest
from raycv.errors import UserError
from raycv.progress import Progress, answer
from raycv.run import names
from raycv.run.store import RunStore

AT_ONCE = 8  # files that are read side by side


def verify(store: RunStore) -> None:
    """Check all files that ``prepared.json`` names: their SHA-256, and that the indices can be read and fit.

    Raises UserError, which names the damaged ones.
    """
    manifest = read_manifest(store.uri)
    files = [file for of_split in manifest.splits.values() for file in of_split]
    for split, of_split in manifest.splits.items():
        images_of_index(store.uri, split, sum(file.images for file in of_split))
    damaged = []
    with Progress("prepare: verifying", len(files), "files") as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        for file, is_whole in zip(files, pool.map(lambda file: _is_whole(store, file), files), strict=True):
            damaged += [] if is_whole else [file.name]
            progress.advance(1, file.name)
    if damaged:
        raise UserError(
            f"{len(damaged):,} of {len(files):,} files of {store.uri} are not those that were prepared: "
            f"{names.in_words(damaged)}; prepare the images again, in a new folder."
        )
    size = sum(file.bytes for file in files)
    answer(f"prepare: all {len(files):,} files in {store.uri} are as they were written, {size:,} bytes")


def _is_whole(store: RunStore, file: ImageFile) -> bool:
    def digest(content: IO[bytes]) -> str:
        return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]

    try:
        return store.open(file.name, digest) == file.sha256
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return False
        raise
