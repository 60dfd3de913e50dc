"""Images in webdataset's tar files: KEY.jpg beside KEY.cls, in shards whose names say of which split they are.

Where each image lies is found out once, by a pass over the headers of all shards, and kept on the machine's disk. Any
image is then read alone. Read often, or from another machine's disk, images are best prepared once: `raycv prepare`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raycv.data.disk_cache import is_made_ours, is_ours
from raycv.data.readers import SUFFIXES, Item, reach
from raycv.errors import UserError
from raycv.progress import doing
from raycv.run.damage import OF_ARRAYS
from raycv.run.fingerprint import fingerprint

AT_ONCE = 8  # shards whose headers are read side by side
LABELS = "cls"
BLOCK = tarfile.BLOCKSIZE
LONGEST = 32  # bytes of the text of a label


class TarPlaces(NamedTuple):
    """Where the images of some shards are: (n,) each, in the order of the shards and in them."""

    shard: NDArray[np.int64]
    offset: NDArray[np.int64]
    bytes: NDArray[np.int64]
    label: NDArray[np.int64]  # -1 where there is none


@dataclass(frozen=True)
class WebdatasetReader:
    """One split of the images of tar files."""

    root: str
    files: tuple[str, ...]  # below root
    sizes: tuple[int, ...]
    places: TarPlaces
    class_names: None = None
    neighbours: int = 1

    def __len__(self) -> int:
        return len(self.places.label)

    @property
    def facts(self) -> Any:
        """What identifies the images: the shards, and what was found in them."""
        found = hashlib.sha256(b"".join(part.tobytes() for part in self.places)).hexdigest()
        return ["webdataset", list(zip(self.files, self.sizes, strict=True)), found]

    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        """Images in the order asked for."""
        for number in np.asarray(numbers).tolist():
            shard, begin, size, label = (int(part[number]) for part in self.places)
            uri = f"{self.root}/{self.files[shard]}"
            yield Item(_part(uri, begin, begin + size), label, f"{uri}, at byte {begin:,}")

    def largest_label(self) -> int:
        """The largest number of a class."""
        return int(self.places.label.max(initial=-1))


def _part(uri: str, begin: int, end: int) -> bytes:
    return reach(uri, "read", lambda fs, path: bytes(fs.cat_file(path, start=begin, end=end)))


def open_webdataset(
    root: str, sizes: Mapping[str, int], image_column: str | None, label_column: str | None
) -> WebdatasetReader:
    """The reader of shards below ``root``, given with their sizes in bytes.

    ``image_column`` and ``label_column`` name the ends of the members that hold images and labels, such as jpg and cls.
    Raises UserError for a shard that is no whole tar file, several images in a sample, or a label that is no number.
    """
    wanted = (image_column or "", label_column or LABELS)
    places = _places(root, tuple(sizes.items()), wanted)
    if not len(places.label):
        raise UserError(
            f"{root}/{next(iter(sizes))} holds no images; expected members such as 0001.jpg with 0001.{LABELS}; "
            "name their ends with --image-column and --label-column."
        )
    return WebdatasetReader(root, tuple(sizes), tuple(sizes.values()), places)


@lru_cache(maxsize=4)  # train and validation are opened again by every stage
def _places(root: str, sizes: tuple[tuple[str, int], ...], wanted: tuple[str, str]) -> TarPlaces:
    uris = [f"{root}/{name}" for name, _ in sizes]
    with doing(f"looking where the images of {len(uris):,} tar files are"), ThreadPoolExecutor(AT_ONCE) as pool:
        key = fingerprint(root, sizes, wanted, list(pool.map(_state, uris)))
        kept = Path(tempfile.gettempdir()) / f"raycv-images-{os.getuid()}" / f"{key}.npz"
        found = _remembered(kept)
        if found is not None:
            return found
        each = list(pool.map(lambda uri, file: _places_of(uri, file[1], wanted), uris, sizes))
    shards = np.repeat(np.arange(len(each)), [len(rows) for rows in each])
    found = TarPlaces(shards, *np.concatenate(each).T.copy())
    _remember(kept, found)
    return found


def _state(uri: str) -> list[str]:
    """What tells a file from another that is put in its place; no name of it is in all stores."""
    names = ("mtime", "ETag", "etag", "generation", "LastModified", "last_modified", "last_commit")
    facts = reach(uri, "look at", lambda fs, path: fs.info(path))
    return [str(facts.get(name, "")) for name in names]


def _remembered(path: Path) -> TarPlaces | None:
    if not is_ours(str(path)):
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            return TarPlaces(*(kept[name] for name in TarPlaces._fields))
    except (*OF_ARRAYS, OSError, KeyError):
        return None


def _remember(path: Path, found: TarPlaces) -> None:
    """Keep what was found, for later commands on this machine, where the disk allows it."""
    with contextlib.suppress(OSError):
        if is_made_ours(path.parent):
            part = path.with_suffix(f".{uuid.uuid4().hex}.part")
            with part.open("xb") as file:
                np.savez(file, **found._asdict())
            os.replace(part, path)


def _places_of(uri: str, size: int, wanted: tuple[str, str]) -> NDArray[np.int64]:
    """Offset, bytes and label of every image of one shard, int64 (n, 3)."""

    def read(fs: Any, path: str) -> NDArray[np.int64]:
        with fs.open(path, "rb") as file:
            try:
                with tarfile.open(fileobj=file, mode="r:") as shard:
                    rows = [_row(uri, shard, key, list(members), wanted) for key, members in _samples(shard)]
                    _check_end(file, shard.offset)
            except (tarfile.TarError, EOFError):
                raise UserError(
                    f"{uri} is not a whole tar file, and compressed ones are not read; download or write it again."
                ) from None
        found = np.array([row for row in rows if row], dtype=np.int64).reshape(-1, 3)
        if (found[:, 0] + found[:, 1]).max(initial=0) > size:
            raise UserError(f"{uri} is not whole: its last image is cut off; download or write it again.")
        return found

    found: NDArray[np.int64] = reach(uri, "read", read)
    return found


def _samples(shard: tarfile.TarFile) -> Iterator[tuple[str, Iterator[tuple[str, tarfile.TarInfo]]]]:
    """The samples of a shard: members that follow one another and have the same name up to the first dot."""
    members = ((*_named(member.name), member) for member in shard if member.isreg())
    for key, group in groupby(members, key=lambda named: named[0]):
        yield key, ((end, member) for _, end, member in group)


def _named(name: str) -> tuple[str, str]:
    """Key and end of a member, as webdataset takes them: the end begins after the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    key, _, end = file.partition(".")
    return folder + slash + key, end.lower()


def _row(
    uri: str, shard: tarfile.TarFile, key: str, members: list[tuple[str, tarfile.TarInfo]], wanted: tuple[str, str]
) -> tuple[int, int, int] | None:
    image, label = wanted
    pictures = [member for end, member in members if (end == image if image else f".{end}" in SUFFIXES)]
    if len(pictures) > 1:
        raise UserError(
            f"{uri} has several images in the sample {key}: {', '.join(one.name for one in pictures)}; say which by "
            "--image-column, such as jpg."
        )
    if not pictures:
        return None
    texts = [member for end, member in members if end == label]
    number = _number(uri, shard, texts[0]) if texts else -1
    return pictures[0].offset_data, pictures[0].size, number


def _number(uri: str, shard: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    content = shard.extractfile(member)
    text = content.read(LONGEST + 1) if content else b""
    try:
        found = int(text)
    except ValueError:
        found = -1
    if found < 0 or len(text) > LONGEST:
        raise UserError(
            f"{member.name} in {uri} is no label: expected the number of a class as text, from 0; name others by "
            "--label-column."
        )
    return found


def _check_end(file: IO[bytes], end: int) -> None:
    """Raise TarError where the shard is cut off between two members, which reading it does not notice."""
    file.seek(end, io.SEEK_SET)
    if file.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError
