"""Documents in Parquet or JSON lines: texts of which language models see the beginning, in the place of images."""

from __future__ import annotations

import json
import os
import posixpath
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raycv.data.documents import MASK, TEXT, Document, DocumentColumn, chosen, holds_ids, of_row
from raycv.data.readers import EMBEDDED, EMBEDDED_TEXTS, Item, listing, reach, split_of
from raycv.data.sources import Source, Split
from raycv.data.tokenizing import Tokens
from raycv.errors import UserError
from raycv.progress import Progress, say
from raycv.run import parquet_files
from raycv.run.damage import refusing_damage
from raycv.run.filesystem import filesystem

SUFFIXES = (".parquet", ".jsonl", ".ndjson")
BYTES = 2**22  # of JSON lines that are read together
KEPT = 8  # blocks that a reader keeps
FEWEST = 16  # documents, of which statistics can be made

Block = tuple[int, int]  # Parquet: (number of the row group, 0); JSON lines: (first byte, one after the last)


@dataclass
class DocumentFile:
    """One file, by blocks of documents that are read together: row groups, or ranges of bytes with whole lines."""

    uri: str
    column: DocumentColumn
    blocks: tuple[Block, ...] = ()

    def read(self, block: int) -> list[Document | None]:
        """The documents of one block; None where one is empty. Raises UserError for what are no documents."""
        return list(self._documents(self.blocks[block], self._content(self.blocks[block])))

    def scanned(self) -> Iterator[tuple[Block, list[Document | None]]]:
        """All blocks with their documents, each read once; ``blocks`` is not looked at."""
        if self.uri.endswith(".parquet"):
            for group in range(reach(self.uri, "read", _checked(self.uri, self.column))):
                block = (group, 0)
                yield block, list(self._documents(block, self._content(block)))
        else:
            for block, content in _ranges(self.uri):
                yield block, list(self._documents(block, content))

    def _content(self, block: Block) -> Any:
        def action(fs: fsspec.AbstractFileSystem, path: str) -> Any:
            if not self.uri.endswith(".parquet"):
                return fs.cat_file(path, start=block[0], end=block[1])
            wanted = [self.column.name, *([MASK] if self.column.masked else [])]
            with _readable(self.uri), fs.open(path, "rb") as file:
                return parquet_files.opened(file, wanted).read_row_group(block[0], wanted)

        return reach(self.uri, "read", action)

    def _documents(self, block: Block, content: Any) -> Iterator[Document | None]:
        if isinstance(content, pa.Table):
            for number, row in enumerate(_rows(content)):
                yield of_row(row, self.column, f"row {number:,} of row group {block[0]} of {self.uri}")
            return
        for number, line in enumerate(_lines(content)):
            where = f"line {number + 1:,} after byte {block[0]:,} of {self.uri}"
            yield of_row(_parsed(line, where), self.column, where)


@dataclass
class Documents:
    """Those of a set that are long enough for every network, by number. ``places`` (n, 3): file, block and row."""

    root: str
    files: tuple[DocumentFile, ...]
    sizes: tuple[int, ...]
    places: NDArray[np.int32]
    tokens: tuple[Tokens, ...]
    largest_id: int | None = None  # among the tokens that networks see, where documents are ids
    class_names: None = None
    neighbours: int = 64
    kept: OrderedDict[tuple[int, int], list[Document | None]] = field(default_factory=OrderedDict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": OrderedDict()}

    def __len__(self) -> int:
        return len(self.places)

    @property
    def facts(self) -> Any:
        """What identifies the sequences: JSON, the same on every machine."""
        names = [posixpath.relpath(file.uri, self.root) for file in self.files]
        how = [tokens.model_dump(mode="json", exclude={"folder"}) for tokens in self.tokens]
        return ["documents", self.files[0].column.name, list(zip(names, self.sizes, strict=True)), how]

    def documents(self, numbers: Sequence[int] | NDArray[np.integer[Any]]) -> list[Document]:
        """The documents of these numbers, in their order."""
        found = [self._block(file, block)[row] for file, block, row in self.places[np.asarray(numbers)].tolist()]
        return [document for document in found if document is not None]  # none is: they are long enough

    def items(self, _numbers: Sequence[int] | NDArray[np.integer[Any]]) -> Iterator[Item]:
        """Raise UserError."""
        raise UserError("This run's networks read texts, and this needs networks that see images.")

    def largest_label(self) -> int:
        """There are no labels."""
        return -1

    def _block(self, file: int, block: int) -> list[Document | None]:
        key = (file, block)
        if key not in self.kept:
            self.kept[key] = self.files[file].read(block)
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


def column_of(data: str, given: str | None = None) -> DocumentColumn:
    """The column of ``data`` that holds the documents, and whether they are token ids: as the first file has it.

    ``given``: its name, else text or input_ids. Raises UserError where there is none, or both.
    """
    root = _root(data)
    uri = f"{root}/{next(iter(_files(root, 'validation')))}"
    if uri.endswith(".parquet"):
        return chosen({name: holds_ids(kind) for name, kind in _schema(uri).items()}, given, uri)
    there: dict[str, bool | None] = {}
    block, content = next(_ranges(uri), ((0, 0), b""))
    for number, line in enumerate(_lines(content)):
        row = _parsed(line, f"line {number + 1:,} after byte {block[0]:,} of {uri}")
        for name, value in row.items():
            if there.get(name) is None:
                there[name] = isinstance(value, list) if isinstance(value, str | list) else None
    return chosen(there, given, uri) if there else DocumentColumn(given or TEXT)


def open_documents(
    data: str, tokens: Sequence[Tokens], column: str | None = None, split: Split = "validation"
) -> Source:
    """The documents in ``data`` that make a sequence for each of ``tokens``, as the samples of a run.

    ``data`` is a folder or prefix with Parquet or JSON lines, of which the files of ``split`` are taken; where no file
    names a split, all are of the validation split. Raises UserError where there are none, and for files without such a
    column.
    """
    root, found = _root(data), column_of(data, column)
    if found.ids is not tokens[0].ids:
        kinds = ("token ids", "texts") if found.ids else ("texts", "token ids")
        raise UserError(
            f"The documents in {data} are {kinds[0]}, and the networks were set up for {kinds[1]}; name others with "
            "--data or --text-column, or another --run."
        )
    return _opened(data, root, tuple(_files(root, split).items()), tuple(dict.fromkeys(tokens)), found)


def _root(data: str) -> str:
    """Where documents are; raycv's own where ``data`` names its images, as it does where the user names none.

    Raises UserError for a folder of the same name.
    """
    if data == EMBEDDED_TEXTS and os.path.isdir(data):
        raise UserError(f"{data} is a folder here, and the name of raycv's own texts; name your folder as ./{data}.")
    if data in (EMBEDDED, EMBEDDED_TEXTS):
        return EMBEDDED_TEXTS
    return data.rstrip("/") if "://" in data else filesystem(data)[1]


@lru_cache(maxsize=4)
def _opened(
    data: str, root: str, sizes: tuple[tuple[str, int], ...], tokens: tuple[Tokens, ...], column: DocumentColumn
) -> Source:
    files, places, count, largest = _long_enough([f"{root}/{path}" for path, _ in sizes], column, tokens)
    what = f"{tokens[0].text_tokens} tokens of text"
    if tokens[0].ids:
        what = f"{tokens[0].context} token ids"
    if tokens[0].words:
        what = f"{tokens[0].words + 1} words in at most {tokens[0].context} tokens of every network"
    if len(places) < FEWEST:
        raise UserError(
            f"{len(places):,} of the {count:,} documents in {data} have {what}, and statistics need {FEWEST}; name "
            "another --context, or more or longer documents."
        )
    if len(places) < count:
        say(f"texts: {count - len(places):,} of {count:,} documents do not have {what} and are left out")
    of_files = tuple(size for _, size in sizes)
    return Source(data, Documents(root, files, of_files, places, tokens, largest), 1, "documents")


def _files(root: str, split: Split) -> dict[str, int]:
    """The files of documents below ``root`` with their sizes; of several splits those of ``split``."""
    there = listing(root, "documents", "a folder or prefix of Parquet files or JSON lines")
    found = {name: size for name, size in there.items() if name.endswith(SUFFIXES)}
    if not found:
        raise UserError(f"{root} holds no documents: expected Parquet files or JSON lines ({', '.join(SUFFIXES)}).")
    named = [name for name in found if split_of(name, "train") or split_of(name, "validation")]
    if not named and split == "validation":
        return found
    chosen = {name: size for name, size in found.items() if split_of(name, split)}
    if not chosen and split == "train":
        raise UserError(
            f"{root} has no training documents: no file is named train or training; name documents in files of both "
            "splits, such as train.jsonl and validation.jsonl."
        )
    if not chosen:
        raise UserError(
            f"{root} holds the training split alone ({named[0]}); name documents that the networks were not trained "
            "on, in files with validation or test in their names, or files without names of splits."
        )
    return chosen


def _ranges(uri: str) -> Iterator[tuple[Block, bytes]]:
    """The blocks of a file of lines, each with what it holds."""
    first = 0
    while True:

        def action(fs: fsspec.AbstractFileSystem, path: str, first: int = first) -> bytes:
            with fs.open(path, "rb") as file:
                file.seek(first)
                found: bytes = file.read(BYTES)
                return found + file.readline() if found else found  # up to the end of a line

        content = reach(uri, "read", action)
        if not content:
            return
        yield (first, first + len(content)), content
        first += len(content)


def _lines(content: bytes) -> list[bytes]:
    return [line for line in content.split(b"\n") if line.strip()]


def _parsed(line: bytes, where: str) -> Mapping[str, Any]:
    """The columns of one line. Raises UserError where it is no JSON; what is no object has no columns."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(
            f'{where[0].upper()}{where[1:]} is no JSON; documents are one line each, {{"text": "..."}}.'
        ) from None
    return found if isinstance(found, dict) else {}


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table, lists as arrays of Arrow's."""
    columns = [(name, table[name]) for name in table.column_names]
    for row in zip(*(column for _, column in columns), strict=True):
        yield {
            name: value.values if isinstance(value, pa.ListScalar) else value.as_py()
            for (name, _), value in zip(columns, row, strict=True)
        }


def _readable(uri: str) -> Any:
    return refusing_damage(f"{uri} is not a readable Parquet file; write it again.")


def _schema(uri: str) -> dict[str, pa.DataType]:
    """The types of the columns of a Parquet file, by name."""

    def action(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, pa.DataType]:
        with _readable(uri), fs.open(path, "rb") as file:
            return {one.name: one.type for one in parquet_files.opened(file, []).schema_arrow}

    return reach(uri, "read", action)


def _checked(uri: str, column: DocumentColumn) -> Any:
    """Gives the number of row groups of a file that has the column. Raises UserError where it is not there."""

    def action(fs: fsspec.AbstractFileSystem, path: str) -> int:
        with _readable(uri), fs.open(path, "rb") as file:
            found = parquet_files.opened(file, [])
            there = {one.name: holds_ids(one.type) for one in found.schema_arrow}
            groups = int(found.metadata.num_row_groups)
        if chosen(there, column.name, uri) != column:
            raise UserError(
                f"{uri} holds documents in another way than the first file, which has a {column.what} in the column "
                f"{column.name!r}{' and a column ' + repr(MASK) if column.masked else ''}; write all files alike."
            )
        return groups

    return action


def _long_enough(
    uris: Sequence[str], column: DocumentColumn, tokens: Sequence[Tokens]
) -> tuple[tuple[DocumentFile, ...], NDArray[np.int32], int, int | None]:
    """The files, where in them documents are that suffice for each of ``tokens``, and how many there are in all.

    Of ids also the largest that networks see.
    """
    files: list[DocumentFile] = []
    places: list[tuple[int, int, int]] = []
    count, largest = 0, -1
    with Progress("texts", len(uris), "files") as progress:
        for number, uri in enumerate(uris):
            blocks: list[Block] = []
            for block, documents in DocumentFile(uri, column).scanned():
                enough = np.logical_and.reduce([of_net.suffices(documents) for of_net in tokens])
                rows = np.flatnonzero(enough).tolist()
                places += [(number, len(blocks), row) for row in rows]
                if column.ids and rows:
                    seen = tokens[0].encode([one for row in rows if (one := documents[row]) is not None])[:, 0]
                    largest = max(largest, int(seen.max()))
                    if not column.masked:
                        _check_padding(uri, seen, tokens)
                blocks.append(block)
                count += len(documents)
            files.append(DocumentFile(uri, column, tuple(blocks)))
            progress.advance()
    return tuple(files), np.array(places, np.int32).reshape(-1, 3), count, largest if column.ids else None


def _check_padding(uri: str, sequences: NDArray[np.int32], tokens: Sequence[Tokens]) -> None:
    """Raise UserError where sequences (n, context) seem to be padded, which nothing says.

    A model's token for padding, or for the end of a text in its place, stands twice at an end of one.
    """
    for padding in {padding for of_net in tokens for padding in of_net.padding}:
        padded = int(((sequences[:, :2] == padding).all(1) | (sequences[:, -2:] == padding).all(1)).sum())
        if padded:
            raise UserError(
                f"{padded:,} documents of {uri} begin or end with the token {padding} twice, which the model has for "
                f"padding or the end of a text; write a column {MASK!r} beside them that says which tokens are no "
                "padding, with ones alone where all are none."
            )
