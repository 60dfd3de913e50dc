"""Documents in Parquet or JSON lines: texts of which language models see the beginning, in the place of images."""

from __future__ import annotations

import json
import posixpath
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raycv.data.readers import Item, reach, split_of
from raycv.data.sources import Source
from raycv.data.tokenizing import Tokens
from raycv.errors import UserError
from raycv.progress import Progress, say
from raycv.run import parquet_files
from raycv.run.damage import refusing_damage
from raycv.run.filesystem import filesystem

SUFFIXES = (".parquet", ".jsonl", ".ndjson")
COLUMN = "text"
BYTES = 2**22  # of JSON lines that are read together
KEPT = 8  # blocks that a reader keeps
FEWEST = 16  # documents, of which statistics can be made


@dataclass
class DocumentFile:
    """One file, by blocks of documents that are read together: row groups, or ranges of bytes with whole lines."""

    uri: str
    column: str
    blocks: tuple[tuple[int, int], ...]  # Parquet: (number of the row group, 0); lines: (first byte, one after last)

    def read(self, block: int) -> list[str | None]:
        """The texts of one block; None where a document has none. Raises UserError for what are no texts."""
        if self.uri.endswith(".parquet"):
            return self._row_group(self.blocks[block][0])
        return [self._text(line, block, n) for n, line in enumerate(self._lines(*self.blocks[block]))]

    def _row_group(self, group: int) -> list[str | None]:
        def action(fs: fsspec.AbstractFileSystem, path: str) -> pa.Table:
            with refusing_damage(f"{self.uri} is not a readable Parquet file; write it again."), fs.open(path) as file:
                return parquet_files.opened(file, [self.column]).read_row_group(group, [self.column])

        found: list[str | None] = reach(self.uri, "read", action)[self.column].to_pylist()
        return found

    def _lines(self, first: int, last: int) -> list[bytes]:
        def action(fs: fsspec.AbstractFileSystem, path: str) -> bytes:
            found: bytes = fs.cat_file(path, start=first, end=last)
            return found

        return [line for line in reach(self.uri, "read", action).split(b"\n") if line.strip()]

    def _text(self, line: bytes, block: int, number: int) -> str | None:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(
                f"Line {number + 1:,} after byte {self.blocks[block][0]:,} of {self.uri} is no JSON; documents are one "
                f'line each, {{"{self.column}": "..."}}.'
            ) from None
        text = found.get(self.column) if isinstance(found, dict) else None
        if text is not None and not isinstance(text, str):
            raise UserError(
                f"{self.column!r} is no text in line {number + 1:,} after byte {self.blocks[block][0]:,} of "
                f"{self.uri}; name a column of texts with --text-column."
            )
        return text


@dataclass
class Documents:
    """Those of a set that are long enough for every network, by number. ``places`` (n, 3): file, block and row."""

    root: str
    files: tuple[DocumentFile, ...]
    sizes: tuple[int, ...]
    places: NDArray[np.int32]
    tokens: tuple[Tokens, ...]
    class_names: None = None
    neighbours: int = 64
    kept: OrderedDict[tuple[int, int], list[str | None]] = field(default_factory=OrderedDict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": OrderedDict()}

    def __len__(self) -> int:
        return len(self.places)

    @property
    def facts(self) -> Any:
        """What identifies the sequences: JSON, the same on every machine."""
        names = [posixpath.relpath(file.uri, self.root) for file in self.files]
        how = [tokens.model_dump(mode="json", exclude={"folder"}) for tokens in self.tokens]
        return ["documents", self.files[0].column, list(zip(names, self.sizes, strict=True)), how]

    def texts(self, numbers: Sequence[int] | NDArray[np.integer[Any]]) -> list[str]:
        """The documents of these numbers, in their order."""
        return [str(self._block(file, block)[row]) for file, block, row in self.places[np.asarray(numbers)].tolist()]

    def items(self, _numbers: Sequence[int] | NDArray[np.integer[Any]]) -> Iterator[Item]:
        """Raise UserError."""
        raise UserError("This run's networks read texts, and this needs networks that see images.")

    def largest_label(self) -> int:
        """There are no labels."""
        return -1

    def _block(self, file: int, block: int) -> list[str | None]:
        key = (file, block)
        if key not in self.kept:
            self.kept[key] = self.files[file].read(block)
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


def open_documents(data: str, tokens: Sequence[Tokens], column: str | None = None) -> Source:
    """The documents in ``data`` that make a sequence for each of ``tokens``, as the samples of a run.

    ``data`` is a folder or prefix with Parquet or JSON lines. Where files are named by splits, those of the validation
    split are taken. Raises UserError where there are none, and for files without such a column.
    """
    root = data.rstrip("/") if "://" in data else filesystem(data)[1]
    sizes = _listing(root, data)
    return _opened(data, root, tuple(sizes.items()), tuple(dict.fromkeys(tokens)), column or COLUMN)


@lru_cache(maxsize=4)
def _opened(
    data: str, root: str, sizes: tuple[tuple[str, int], ...], tokens: tuple[Tokens, ...], column: str
) -> Source:
    files = tuple(_file(f"{root}/{path}", column) for path, _ in sizes)
    places, count = _long_enough(files, tokens)
    what = f"{tokens[0].text_tokens} tokens of text"
    if tokens[0].words:
        what = f"{tokens[0].words + 1} words in at most {tokens[0].context} tokens of every network"
    if len(places) < FEWEST:
        raise UserError(
            f"{len(places):,} of the {count:,} documents in {data} have {what}, and statistics need {FEWEST}; name "
            "another --context, or more or longer documents."
        )
    if len(places) < count:
        say(f"texts: {count - len(places):,} of {count:,} documents do not have {what} and are left out")
    return Source(data, Documents(root, files, tuple(size for _, size in sizes), places, tokens), 1, "documents")


def _listing(root: str, data: str) -> dict[str, int]:
    """The files of documents below ``root`` with their sizes; of several splits those of validation."""

    def find(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, int]:
        if not fs.isdir(path):
            what = "is a file" if fs.exists(path) else "is not there"
            raise UserError(f"The documents {data} {what}; name a folder or prefix of Parquet files or JSON lines.")
        return {posixpath.relpath(name, path): int(file["size"]) for name, file in fs.find(path, detail=True).items()}

    found = {name: size for name, size in sorted(reach(root, "list", find).items()) if name.endswith(SUFFIXES)}
    if not found:
        raise UserError(f"{data} holds no documents: expected Parquet files or JSON lines ({', '.join(SUFFIXES)}).")
    named = [name for name in found if split_of(name, "train") or split_of(name, "validation")]
    if not named:
        return found
    chosen = {name: size for name, size in found.items() if split_of(name, "validation")}
    if not chosen:
        raise UserError(
            f"{data} holds the training split alone ({named[0]}); name documents that the networks were not trained "
            "on, in files with validation or test in their names, or files without names of splits."
        )
    return chosen


def _file(uri: str, column: str) -> DocumentFile:
    if uri.endswith(".parquet"):
        return DocumentFile(
            uri, column, tuple((group, 0) for group in range(reach(uri, "read", _checked(uri, column))))
        )

    def ranges(fs: fsspec.AbstractFileSystem, path: str) -> tuple[tuple[int, int], ...]:
        found, first, end = [], 0, 0
        with fs.open(path, "rb") as file:
            while chunk := file.read(BYTES):
                end += len(chunk) + len(file.readline())  # up to the end of a line
                found.append((first, end))
                first = end
        return tuple(found)

    return DocumentFile(uri, column, reach(uri, "read", ranges))


def _checked(uri: str, column: str) -> Any:
    """Gives the number of row groups of a file that has the column."""

    def action(fs: fsspec.AbstractFileSystem, path: str) -> int:
        with refusing_damage(f"{uri} is not a readable Parquet file; write it again."), fs.open(path, "rb") as file:
            found = parquet_files.opened(file, [])
            there = {one.name: one.type for one in found.schema_arrow}
            groups = int(found.metadata.num_row_groups)
        kind = there.get(column)
        if kind is None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            has = "has no column" if kind is None else f"has {kind} in the column"
            raise UserError(
                f"{uri} {has} {column!r}; name a column of texts with --text-column: it has {', '.join(there)}."
            )
        return groups

    return action


def _long_enough(files: Sequence[DocumentFile], tokens: Sequence[Tokens]) -> tuple[NDArray[np.int32], int]:
    """Where the documents are that make a sequence for each of ``tokens``, and how many there are in all."""
    found: list[tuple[int, int, int]] = []
    count = 0
    with Progress("texts", sum(len(file.blocks) for file in files), "blocks") as progress:
        for number, file in enumerate(files):
            for block in range(len(file.blocks)):
                texts = file.read(block)
                enough = np.logical_and.reduce([of_net.suffices(texts) for of_net in tokens])
                found += [(number, block, row) for row in np.flatnonzero(enough).tolist()]
                count += len(texts)
                progress.advance()
    return np.array(found, np.int32).reshape(-1, 3), count
