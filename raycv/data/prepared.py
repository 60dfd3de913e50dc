"""Prepared images: decoded and resized once, then read by index. `raycv prepare` writes them.

A folder holds ``prepared.json``, which describes all, and for each split files of many images one behind another, and
``index.parquet``: where in them each image is, its label, and where it came from.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raycv.data.disk_cache import NearbyFiles
from raycv.data.preprocessing import Encoding, Fit, Interpolation, Resize
from raycv.data.readers import Item, NoSuchSplit, reach
from raycv.errors import UserError
from raycv.run import parquet_files
from raycv.run.damage import refusing_damage
from raycv.run.names import PORTION

FORMAT = 1
MANIFEST = "prepared.json"
IMAGES = ".images"  # at the end of the names of files of images
PLACES = ("offset", "bytes", "label")  # columns of an index
AT_ONCE = 64  # images that lie side by side and are read at once, at most


class ImageFile(BaseModel):
    """One file of images. ``name``: below the folder; ``sha256`` of its content, in hexadecimal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=rf"^{PORTION}\.images$")
    images: int
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What ``prepared.json`` says. ``splits``: "train" and "validation", those that the source has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    size: int
    fit: Fit
    interpolation: Interpolation
    encoding: Encoding
    classes: int
    class_names: tuple[str, ...] | None
    splits: dict[str, tuple[ImageFile, ...]]

    @property
    def resizing(self) -> Resize:
        """How the images have been resized."""
        return Resize(self.size, self.fit, self.interpolation)


@dataclass(frozen=True)
class PreparedReader:
    """One split of prepared images. Any image is read alone: nothing is kept but where it is."""

    root: str
    split: str
    manifest: Manifest
    neighbours: int = 1

    def __len__(self) -> int:
        return sum(file.images for file in self._files)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """As the source named them."""
        return self.manifest.class_names

    @property
    def facts(self) -> Any:
        """What identifies the images: their checksums."""
        how = [self.manifest.size, self.manifest.fit, self.manifest.interpolation, self.manifest.encoding]
        return ["prepared", how, [file.sha256 for file in self._files]]

    @cached_property
    def nearby(self) -> NearbyFiles:
        """Its files, from which images are read."""
        return NearbyFiles(self.root, tuple((file.name, file.bytes, file.sha256) for file in self._files))

    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        """Images in the order asked for; those that lie side by side are read at once."""
        wanted, index = np.asarray(numbers, dtype=np.int64), images_of_index(self.root, self.split, len(self))
        files = np.searchsorted(self._starts, wanted, side="right") - 1
        for run in _side_by_side(wanted, files):
            begin = int(index.offset[wanted[run[0]]])
            end = int(index.offset[wanted[run[-1]]] + index.bytes[wanted[run[-1]]])
            file = int(files[run[0]])
            content = self.nearby.read(file, begin, end)
            for number in wanted[run]:
                first = int(index.offset[number]) - begin
                image = content[first : first + int(index.bytes[number])]
                origin = f"{self.root}/{self._files[file].name}, image {number - self._starts[file]}"
                if not index.is_right(int(number), image):
                    raise UserError(
                        f"The image in {origin} is damaged: it is not what raycv prepare has written; prepare the "
                        "images again, in a new folder."
                    )
                yield Item(self._as_stored(image, origin), int(index.label[number]), origin)

    def largest_label(self) -> int:
        """The number of the last class."""
        return self.manifest.classes - 1

    def _as_stored(self, content: memoryview, origin: str) -> bytes | np.ndarray:
        if self.manifest.encoding == "jpeg95":
            return bytes(content)
        size = self.manifest.size
        if len(content) != size * size * 3:
            raise UserError(f"The image in {origin} is not whole; prepare the images again.")
        return np.frombuffer(content, dtype=np.uint8).reshape(size, size, 3)

    @property
    def _files(self) -> tuple[ImageFile, ...]:
        return self.manifest.splits[self.split]

    @cached_property
    def _starts(self) -> np.ndarray:
        """(files,): the number of the first image of each file."""
        return np.cumsum([0, *(file.images for file in self._files)])[:-1]


@dataclass(frozen=True)
class PreparedIndex:
    """Where each image of a split is, its label and its checksum (-1: of an earlier version, that had none)."""

    offset: np.ndarray
    bytes: np.ndarray
    label: np.ndarray
    crc32: np.ndarray
    checked: np.ndarray  # whether this process has found the image right

    def is_right(self, number: int, content: memoryview) -> bool:
        """Whether an image that was read is the one that was written; found out when it is read for the first time."""
        if not self.checked[number]:
            self.checked[number] = self.crc32[number] in (-1, zlib.crc32(content))
        return bool(self.checked[number])


@lru_cache(maxsize=4)  # readers of all threads of a process share it
def images_of_index(root: str, split: str, images: int) -> PreparedIndex:
    """The index of a split of so many images. Raises UserError where it is damaged or of another number."""
    uri = f"{root}/{split}/index.parquet"

    def read(fs: Any, path: str) -> PreparedIndex:
        with refusing_damage(f"{uri} is not a readable Parquet file; prepare the images again."):
            wanted = [*PLACES, "crc32"]
            table = parquet_files.opened(fs.open(path, "rb"), wanted, page_checksum_verification=True).read(wanted)
            if not table.column_names[: len(PLACES)] == [*PLACES]:
                raise pa.ArrowInvalid("columns are missing")
        if len(table) != images:
            raise UserError(f"{uri} has {len(table):,} rows for {images:,} images; prepare the images again.")
        sums = table["crc32"].fill_null(-1).to_numpy() if "crc32" in table.column_names else np.full(images, -1)
        offset, size, label = (table[name].to_numpy() for name in PLACES)
        return PreparedIndex(offset, size, label, sums, np.zeros(images, dtype=bool))

    return reach(uri, "read", read)


def _side_by_side(numbers: np.ndarray, files: np.ndarray) -> Iterator[np.ndarray]:
    """The places in ``numbers``, cut where the next number is not the next image of the same file."""
    if not len(numbers):
        return
    cuts = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(files) != 0)) + 1
    places = np.arange(len(numbers))
    for start, end in pairwise([0, *cuts.tolist(), len(numbers)]):
        for first in range(start, end, AT_ONCE):
            yield places[first : min(first + AT_ONCE, end)]


def read_manifest(root: str) -> Manifest:
    """What ``prepared.json`` in ``root`` says. Raises UserError where it is damaged."""
    uri = f"{root}/{MANIFEST}"
    content = reach(uri, "read", lambda fs, path: fs.cat_file(path))
    try:
        return Manifest(**json.loads(content))
    except (ValueError, TypeError, ValidationError):
        raise UserError(
            f"{uri} does not describe prepared images as this version of raycv writes them; prepare the images again, "
            "in a new folder."
        ) from None


def open_prepared(root: str, split: str) -> PreparedReader:
    """The reader of one split of prepared images. Raises UserError for a damaged description or a missing split."""
    manifest = read_manifest(root)
    if split not in manifest.splits:
        raise NoSuchSplit(f"{root} has no {split} images: only {', '.join(manifest.splits)} images were prepared.")
    return PreparedReader(root, split, manifest)
