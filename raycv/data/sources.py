"""Opening a set of images and decoding any of them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from raycv.data.cifar_pickles import CIFAR10_FILES, CIFAR10_FOLDER, open_cifar10
from raycv.data.image_tree import folder_of_split, open_folder
from raycv.data.parquet import open_parquet
from raycv.data.prepared import IMAGES, MANIFEST, PreparedReader, open_prepared
from raycv.data.preprocessing import Resize
from raycv.data.readers import EMBEDDED, SPLITS, SUFFIXES, Item, NoSuchSplit, Reader, listing, of_split
from raycv.data.selection import Selection
from raycv.data.webdataset import open_webdataset
from raycv.errors import UserError
from raycv.extras import needed
from raycv.run.filesystem import filesystem, mark_reachable
from raycv.run.fingerprint import fingerprint

Split = Literal["train", "validation"]
COLUMNED = (".parquet", ".tar")  # ends of files in which images and labels have names
MOST_CLASSES = 100_000  # without names; a label beyond is no class's number


@dataclass
class Source:
    """One split of a set of images. Images are numbered by sorted file, then row. Cheap to send to another process."""

    name: str
    reader: Reader
    classes: int
    unit: str = "images"  # of which there are so many

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        mark_reachable(self.reader.root)  # the process that sent this source has already reached it

    def __len__(self) -> int:
        return len(self.reader)

    @cached_property
    def identity(self) -> str:
        """A short name for what the images are, the same wherever they are kept."""
        return fingerprint(self.reader.facts, self.classes)

    def first(self, count: int) -> Source:
        """``count`` of the images, chosen as `raycv.data.selection.Selection` says; all of them are this source itself.

        Raises UserError where there are fewer.
        """
        if count > len(self):
            raise UserError(
                f"{self.name} has {len(self):,} training images, fewer than the {count:,} asked for; "
                f"name a number of at most {len(self):,}."
            )
        return self if count == len(self) else Source(self.name, Selection(self.reader, count), self.classes)

    def decode(
        self, numbers: Sequence[int] | np.ndarray, resize: Resize, *, exact: bool = True, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, size, size, 3) uint8, red green blue, and labels (n,) int64, in the order of ``numbers``.

        Not ``exact``, pixels may differ by one (`raycv.data.decoding.pixels`). ``out`` is where the images go, if it is
        given. Raises UserError naming file and row for an image that cannot be decoded or has no label.
        """
        with needed():
            from raycv.data.decoding import pixels

        images = np.empty((len(numbers), resize.size, resize.size, 3), dtype=np.uint8) if out is None else out
        labels = np.empty(len(numbers), dtype=np.int64)
        for n, item in enumerate(self.reader.items(numbers)):
            labels[n] = self.label_of(item)
            place = images[n]
            found = pixels(item, resize, exact=exact, place=place)
            if found is not place:
                images[n] = found
        return images, labels

    def labels(self) -> np.ndarray:
        """The label (n,) int64 of every image. Reads all of them, and decodes none.

        Raises UserError for an image without a label.
        """
        items = self.reader.items(np.arange(len(self)))
        return np.fromiter(map(self.label_of, items), dtype=np.int64, count=len(self))

    def keep_near(self) -> None:
        """Begin to copy prepared images from S3 to this machine's disk, as they will be read again and again."""
        reader = self.reader.reader if isinstance(self.reader, Selection) else self.reader
        if isinstance(reader, PreparedReader):
            reader.nearby.keep()

    def size_of_first(self) -> tuple[int, int]:
        """Width and height of the first image as it is stored."""
        with needed():
            from raycv.data.decoding import size_of

        return size_of(next(iter(self.reader.items([0]))))

    def label_of(self, item: Item) -> int:
        """The label of an image of this source. Raises UserError where it has none, or one of no class."""
        if item.label is None or item.label == -1:
            raise UserError(
                f"The image in {item.origin} has no label; name images that have labels "
                "(test splits on the Hub often have none)."
            )
        if not 0 <= item.label < self.classes:
            raise UserError(
                f"The image in {item.origin} has the label {item.label}; allowed are 0 to {self.classes - 1}."
            )
        return item.label


def open_source(uri: str, split: Split, *, image_column: str | None = None, label_column: str | None = None) -> Source:
    """Open one split of the images ``uri``: Parquet, tar files, a tree, CIFAR10's root, prepared ones or raycv's.

    The layout is recognised from the files. Raises UserError where it is unknown, or the split is missing or empty.
    """
    # Absolute, because the source is sent to processes that run in other folders.
    root = uri.rstrip("/") if uri == EMBEDDED or "://" in uri else filesystem(uri)[1]
    sizes = listing(root)
    for flag, column in (("--image-column", image_column), ("--label-column", label_column)):
        if column and not any(path.endswith(COLUMNED) for path in sizes):
            raise UserError(f"{flag} was given {column!r}, but {uri} holds no Parquet or tar files; leave {flag} out.")
    reader = _reader(root, sizes, split, image_column, label_column)
    if not len(reader):
        raise UserError(f"The {split} images of {uri} are empty; name a set that has some.")
    if reader.class_names is not None:
        return Source(uri, reader, len(reader.class_names))
    other: Split = "validation" if split == "train" else "train"
    largest = reader.largest_label()
    if of_split((path for path in sizes if path.endswith(COLUMNED)), other):
        largest = max(largest, _reader(root, sizes, other, image_column, label_column).largest_label())
    if largest < 0:
        raise UserError(f"None of the images of {uri} has a label; name images that have labels.")
    if largest >= MOST_CLASSES:
        raise UserError(
            f"The labels of {uri} go up to {largest:,} and at most {MOST_CLASSES:,} classes are supported; number the "
            "classes from 0, or name another column with --label-column."
        )
    return Source(uri, reader, largest + 1)


def _pictures(sizes: Mapping[str, int]) -> dict[str, int]:
    return {path: size for path, size in sizes.items() if path.lower().endswith(SUFFIXES)}


def _reader(
    root: str, sizes: Mapping[str, int], split: Split, image_column: str | None, label_column: str | None
) -> Reader:
    if MANIFEST in sizes:
        return open_prepared(root, split)
    if any(path.endswith(IMAGES) for path in sizes):
        raise UserError(
            f"The images in {root} are not all prepared yet: {MANIFEST} is missing; run the same raycv prepare again."
        )
    files = {posixpath.basename(path): path for path in sizes}
    if "batches.meta" in files:
        if files.keys().isdisjoint(CIFAR10_FILES[split]):
            raise NoSuchSplit(f"{root} has no {split} images: expected {CIFAR10_FILES[split][0]}; download them too.")
        return open_cifar10(posixpath.dirname(f"{root}/{files['batches.meta']}"), split)
    parquet = [path for path in sizes if path.endswith(".parquet")]
    shards = [path for path in sizes if path.endswith(".tar")]
    pictures = _pictures(sizes)
    if parquet and shards:
        raise UserError(f"{root} holds both {parquet[0]} and {shards[0]}; name a folder with files of one kind.")
    if not parquet and not pictures and not shards:
        raise UserError(
            f"{root} holds no images: expected Parquet or tar files, SPLIT/CLASS/ folders of images, or "
            f"{CIFAR10_FOLDER}; found {len(sizes)} files"
            + (f", the first being {next(iter(sizes))}." if sizes else ".")
        )
    chosen = of_split(parquet or shards, split) if parquet or shards else folder_of_split(pictures, split)
    if not chosen:
        names = " or ".join(SPLITS[split])
        expected = (
            "no file or folder is named"
            if parquet or shards
            else "there are no CLASS folders of images in a folder named"
        )
        raise NoSuchSplit(
            f"{root} has no {split} images: {expected} {names}; found {', '.join([*parquet, *shards, *pictures][:3])}."
        )
    if parquet:
        return open_parquet(root, {path: sizes[path] for path in chosen}, image_column, label_column)
    if shards:
        return open_webdataset(root, {path: sizes[path] for path in chosen}, image_column, label_column)
    return open_folder(root, pictures, split)
