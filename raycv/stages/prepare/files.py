"""The files of prepared images: which there will be, and how one of them is made."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from raycv.config import PrepareConfig
from raycv.data.decoding import pixels
from raycv.data.image_tree import FolderReader
from raycv.data.prepared import FORMAT, IMAGES, ImageFile
from raycv.data.preprocessing import Encoding, Resize
from raycv.data.readers import Item, NoSuchSplit
from raycv.data.sources import Source, Split, open_source
from raycv.errors import UserError
from raycv.progress import doing
from raycv.run import parquet_files
from raycv.run.damage import refusing_damage
from raycv.run.fingerprint import fingerprint
from raycv.run.names import is_of_prepared
from raycv.run.store import RunStore

PER_FILE = 1024  # images, at most
LARGEST = 2**28  # bytes of the pixels of a file's images, which an actor holds
PARTS = "parts"  # folder of what the index is made of, removed once it is there
SCHEMA = pa.schema(
    [
        ("offset", pa.int64()),
        ("bytes", pa.int32()),
        ("label", pa.int32()),
        ("origin", pa.string()),
        ("crc32", pa.int64()),  # of the image's bytes
    ]
)


@dataclass(frozen=True)
class Portion:
    """Images ``first`` to ``last`` - 1 of a split, which make one file; ``made_of`` identifies them."""

    split: Split
    number: int
    first: int
    last: int
    made_of: str

    @property
    def name(self) -> str:
        """Of its files, but for their ends."""
        return f"{self.split}/{self.number:05}-{self.made_of}"


@dataclass(frozen=True)
class Made:
    """One file's content, and its rows of the index."""

    content: bytes
    index: pa.Table


@dataclass(frozen=True)
class Folder:
    """The folder in which files of prepared images gather."""

    store: RunStore
    folder: str = PARTS

    def finished(self) -> set[str]:
        """The names of the portions that are there, both the file and its part of the index."""
        sizes = self.store.sizes()
        indices = [path for path in sizes if path.startswith(f"{PARTS}/") and path.endswith(".parquet")]
        parts = [path.removeprefix(f"{PARTS}/").removesuffix(".parquet") for path in indices if is_of_prepared(path)]
        with doing("prepare: looking at what is there"):
            return {name for name in parts if sizes.get(f"{name}{IMAGES}", -1) == self._described(name).bytes}

    def keep(self, trial: str, found: Made) -> None:
        """Keep one file and, after it, its part of the index."""
        self.store.write(f"{trial}{IMAGES}", found.content)
        buffer = io.BytesIO()
        pq.write_table(found.index, buffer)
        self.store.write(f"{PARTS}/{trial}.parquet", buffer.getvalue())

    def part(self, name: str) -> pa.Table:
        """The rows of one portion of the index."""
        path = f"{PARTS}/{name}.parquet"
        with refusing_damage(f"{self.store.locate(path)} is damaged; remove it, and the same command makes it again."):
            return parquet_files.read(io.BytesIO(self.store.read(path)))

    def _described(self, name: str) -> ImageFile:
        return described(name, self.part(name))


def described(name: str, index: pa.Table) -> ImageFile:
    """What the description of the prepared images says of one file."""
    (sha256,) = (value for key, value in (index.schema.metadata or {}).items() if key == b"sha256")
    size = int(np.sum(index["bytes"].to_numpy(), dtype=np.int64))
    return ImageFile(name=f"{name}{IMAGES}", images=len(index), bytes=size, sha256=sha256.decode())


def sources_of(config: PrepareConfig) -> dict[Split, Source]:
    """The images of each split that there is, those of training first. Raises UserError where there are none."""
    both: tuple[Split, Split] = ("train", "validation")
    columns = {"image_column": config.image_column, "label_column": config.label_column}
    found: dict[Split, Source] = {}
    for split in both:
        try:
            found[split] = open_source(config.data, split, **columns)
        except NoSuchSplit:
            if split == "validation" and not found:
                raise
    return found


def portions(split: Split, source: Source, config: PrepareConfig) -> list[Portion]:
    """All files of a split."""
    per_file = max(1, min(PER_FILE, LARGEST // (config.size * config.size * 3)))
    how = [FORMAT, config.size, config.fit, config.format]
    found = []
    for number, first in enumerate(range(0, len(source), per_file)):
        last = min(first + per_file, len(source))
        found.append(Portion(split, number, first, last, fingerprint(how, _facts(source, first, last))))
    return found


def _facts(source: Source, first: int, last: int) -> Any:
    """What identifies some images: in a tree, where one may be mended, their own files."""
    reader = source.reader
    if isinstance(reader, FolderReader):
        return [list(reader.files[first:last]), list(reader.sizes[first:last]), source.classes]
    return [source.identity, first]


@dataclass(frozen=True)
class Maker:
    """Makes files of the images of ``sources`` (by split), all resized by ``resize``."""

    sources: Mapping[Split, Source]
    resize: Resize
    encoding: Encoding

    def on(self, _device: str) -> Maker:
        """Itself: images are decoded by CPUs."""
        return self

    def __call__(self, portion: Portion) -> Made:
        """One file. Raises UserError for an image that cannot be decoded or has no label."""
        source = self.sources[portion.split]
        stored: list[bytes] = []
        labels, origins = [], []
        for item in source.reader.items(np.arange(portion.first, portion.last)):
            labels.append(source.label_of(item))
            stored.append(self._encoded(item))
            origins.append(item.origin.removeprefix(f"{source.reader.root}/"))
        sizes = np.array([len(content) for content in stored], dtype=np.int64)
        content = b"".join(stored)
        sums = list(map(zlib.crc32, stored))
        index = pa.table([np.cumsum(sizes) - sizes, sizes, labels, origins, sums], schema=SCHEMA)
        sha256 = hashlib.sha256(content).hexdigest()
        return Made(content, index.replace_schema_metadata({"sha256": sha256}))

    def _encoded(self, item: Item) -> bytes:
        raw = self.encoding == "raw"
        image = pixels(item, self.resize, exact=raw)
        if raw:
            return image.tobytes()
        if isinstance(item.content, bytes) and self._is_so_already(item.content):
            return item.content
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=95)
        return buffer.getvalue()

    def _is_so_already(self, content: bytes) -> bool:
        """Whether this is a JPEG of the size that is wanted, which would only become worse."""
        image = Image.open(io.BytesIO(content))
        return image.format == "JPEG" and image.mode == "RGB" and image.size == (self.resize.size, self.resize.size)


def check_all(folder: Folder, portions: Sequence[Portion]) -> Iterator[tuple[Portion, pa.Table]]:
    """Each portion with its rows of the index. Raises UserError for one that has another number of images."""
    for portion in portions:
        rows = folder.part(portion.name)
        if len(rows) != portion.last - portion.first:
            raise UserError(
                f"{portion.name} has {len(rows)} images and should have {portion.last - portion.first}; remove "
                f"{folder.store.locate(PARTS)}, and run the same command again."
            )
        yield portion, rows
