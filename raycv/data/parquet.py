"""Images in Hugging Face style Parquet."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

import fsspec
import numpy as np
import pyarrow as pa

from raycv.data.readers import Item, reach
from raycv.errors import UserError
from raycv.run import parquet_files
from raycv.run.damage import refusing_damage

T = TypeVar("T")
IMAGE_NAMES = ("image", "img", "images")
LABEL_NAMES = ("label", "labels", "fine_label")
ROW_GROUPS_KEPT = 4
NEEDED = {  # of a column
    "image": "images are encoded files as bytes, plain or in a struct {bytes, path}",
    "label": "labels are integers from 0, text is not supported",
}


@dataclass
class ParquetReader:
    """Hugging Face style Parquet: an image column of structs {bytes, path} (or plain bytes) and an integer label."""

    root: str
    files: tuple[str, ...]  # below root
    image_column: str
    label_column: str
    class_names: tuple[str, ...] | None
    groups: tuple[tuple[int, ...], ...]  # rows of every row group of every file
    sizes: tuple[int, ...]
    kept: OrderedDict[tuple[int, int], pa.Table] = field(default_factory=OrderedDict, repr=False)
    neighbours: int = 64

    def __post_init__(self) -> None:
        rows = [(f, g, count) for f, counts in enumerate(self.groups) for g, count in enumerate(counts)]
        self._where = [(f, g) for f, g, _ in rows]
        self._starts = np.cumsum([0, *(count for _, _, count in rows)])
        self._file_starts = np.cumsum([0, *(sum(counts) for counts in self.groups)])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": OrderedDict()}

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def facts(self) -> Any:
        files = list(zip(self.files, self.sizes, map(list, self.groups), strict=True))
        return ["parquet", self.image_column, self.label_column, files]

    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        for number in np.asarray(numbers).tolist():
            index = int(np.searchsorted(self._starts, number, side="right")) - 1
            file, group = self._where[index]
            row = number - int(self._starts[index])
            table = self._row_group(file, group)
            image, label = table[self.image_column][row].as_py(), table[self.label_column][row].as_py()
            where = f"{self._uri(file)}, row {number - int(self._file_starts[file])}"
            content = image.get("bytes") if isinstance(image, dict) else image
            if content is None and isinstance(image, dict) and image.get("path"):
                raise UserError(
                    f"The image in {where} is only named, {image['path']}, and not in the file; write Parquet "
                    "files that hold the images, or name the folder of the images itself."
                )
            yield Item(content, label, where)

    def largest_label(self) -> int:
        largest = -1
        for file in range(len(self.files)):
            labels = self._open(file, lambda f: parquet_files.read(f, [self.label_column]))[self.label_column]
            largest = max([largest, *(value for value in labels.unique().to_pylist() if value is not None)])
        return largest

    def _uri(self, file: int) -> str:
        return f"{self.root}/{self.files[file]}"

    def _row_group(self, file: int, group: int) -> pa.Table:
        key = (file, group)
        if key not in self.kept:
            columns = [self.image_column, self.label_column]
            self.kept[key] = self._open(file, lambda f: parquet_files.opened(f, columns).read_row_group(group, columns))
            while len(self.kept) > ROW_GROUPS_KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]

    def _open(self, file: int, read: Any) -> Any:
        return _read_parquet(self._uri(file), read)


def _read_parquet(uri: str, read: Callable[[IO[bytes]], T]) -> T:
    def action(fs: fsspec.AbstractFileSystem, path: str) -> T:
        with (
            refusing_damage(f"{uri} is not a readable Parquet file; download or write it again."),
            fs.open(path, "rb") as file,
        ):
            return read(file)

    return reach(uri, "read", action)


def open_parquet(
    root: str, sizes: Mapping[str, int], image_column: str | None, label_column: str | None
) -> ParquetReader:
    """The reader of files below ``root``, given with their sizes in bytes.

    Raises UserError for missing columns, columns of another type in another file, or an unreadable file.
    """

    def footer(name: str) -> tuple[pa.Schema, tuple[int, ...]]:
        def read(file: Any) -> tuple[pa.Schema, tuple[int, ...]]:
            parquet = parquet_files.opened(file, ())
            rows = parquet.metadata
            return parquet.schema_arrow, tuple(rows.row_group(g).num_rows for g in range(rows.num_row_groups))

        found: tuple[pa.Schema, tuple[int, ...]] = _read_parquet(f"{root}/{name}", read)
        return found

    files = tuple(sizes)
    with ThreadPoolExecutor(16) as pool:
        footers = list(pool.map(footer, files))
    schema = footers[0][0]
    image = _column(schema, f"{root}/{files[0]}", "image", image_column, IMAGE_NAMES, _is_image)
    label = _column(schema, f"{root}/{files[0]}", "label", label_column, LABEL_NAMES, pa.types.is_integer)
    for name, (other, _) in zip(files, footers, strict=True):
        _column(other, f"{root}/{name}", "image", image, IMAGE_NAMES, _is_image)
        _column(other, f"{root}/{name}", "label", label, LABEL_NAMES, pa.types.is_integer)
    return ParquetReader(
        root=root,
        files=files,
        image_column=image,
        label_column=label,
        class_names=_class_names(schema, label),
        groups=tuple(groups for _, groups in footers),
        sizes=tuple(sizes.values()),
    )


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _column(schema: pa.Schema, uri: str, what: str, named: str | None, usual: Sequence[str], fits: Any) -> str:
    """The column the user named, or the one of a usual name, or the only one of a fitting type."""
    kinds = {f.name: f.type for f in schema}
    fitting = [name for name, kind in kinds.items() if fits(kind) and schema.names.count(name) == 1]
    if named is None:
        choice = [name for name in usual if name in fitting] or fitting
        if len(choice) >= 1 and (choice[0] in usual or len(fitting) == 1):
            return choice[0]
        named = next((name for name in usual if name in kinds), None)
    if named is not None:
        if named in fitting:
            return named
        found = f"has type {kinds[named]}" if named in kinds else "is not there"
        if schema.names.count(named) > 1:
            found = f"is there {schema.names.count(named)} times"
        raise UserError(
            f"The {what} column {named!r} of {uri} {found}; {NEEDED[what]}; columns that can serve: "
            f"{', '.join(fitting) or 'none'}."
        )
    raise UserError(
        f"{uri} has no {what} column that can be recognised: its columns are {', '.join(schema.names)}; "
        f"name it with --{what}-column."
    )


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The names of a ClassLabel feature in the Hugging Face metadata; None where it has none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"]) or None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
