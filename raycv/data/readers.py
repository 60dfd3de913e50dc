"""The layouts images are kept in. Each reader knows how many images it has and gives any of them, still encoded."""

from __future__ import annotations

import io
import json
import pickle
import posixpath
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raycv.errors import UserError
from raycv.run.filesystem import filesystem, reaching

EMBEDDED = "cifar10-subset"
SPLITS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev", "test")}
IMAGE_NAMES = ("image", "img", "images")
LABEL_NAMES = ("label", "labels", "fine_label")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif")
ROW_GROUPS_KEPT = 4


class Item(NamedTuple):
    """One image as it is stored: encoded bytes or pixels (H, W, 3), its label, and where it stands."""

    content: bytes | np.ndarray | None
    label: int | None
    origin: str


class Reader(Protocol):
    """One split of a set of images."""

    @property
    def class_names(self) -> tuple[str, ...] | None: ...  # None where the layout does not name classes
    @property
    def facts(self) -> Any: ...  # what identifies the images: JSON, the same on every machine
    def __len__(self) -> int: ...
    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]: ...  # in the order asked for
    def largest_label(self) -> int: ...


def split_of(path: str, split: str) -> str | None:
    """Which of the split's names a path carries in a folder or file name; None where it carries none."""
    words = re.split(r"[^a-z]+", path.lower())
    return next((name for name in SPLITS[split] if name in words), None)


def of_split(paths: Iterable[str], split: str, named_by: Callable[[str], str] = str) -> list[str]:
    """The paths of a split, sorted; those of its first name that occurs, so that validation wins over test.

    ``named_by`` gives the part of a path that can name a split.
    """
    named = [(split_of(named_by(path), split), path) for path in paths]
    for name in SPLITS[split]:
        found = sorted(path for which, path in named if which == name)
        if found:
            return found
    return []


def located(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and path behind ``uri``; the embedded subset is that of the package this process runs."""
    if uri.partition("/")[0] == EMBEDDED:
        uri = str(Path(__file__).parent / "cifar10") + uri[len(EMBEDDED) :]
    return filesystem(uri)


# -- Parquet -------------------------------------------------------------------------------------------------------


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
            content = image.get("bytes") if isinstance(image, dict) else image
            where = f"{self._uri(file)}, row {number - int(self._file_starts[file])}"
            yield Item(content, label, where)

    def largest_label(self) -> int:
        largest = -1
        for file in range(len(self.files)):
            labels = self._open(file, lambda f: pq.read_table(f, columns=[self.label_column]))[self.label_column]
            largest = max([largest, *(value for value in labels.unique().to_pylist() if value is not None)])
        return largest

    def _uri(self, file: int) -> str:
        return f"{self.root}/{self.files[file]}"

    def _row_group(self, file: int, group: int) -> pa.Table:
        key = (file, group)
        if key not in self.kept:
            columns = [self.image_column, self.label_column]
            self.kept[key] = self._open(file, lambda f: pq.ParquetFile(f).read_row_group(group, columns=columns))
            while len(self.kept) > ROW_GROUPS_KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]

    def _open(self, file: int, read: Any) -> Any:
        return _read_parquet(self._uri(file), read)


def _read_parquet(uri: str, read: Any) -> Any:
    fs, path = located(uri)
    with reaching(uri, "read"):
        try:
            with fs.open(path, "rb") as file:
                return read(file)
        except (pa.ArrowException, OSError) as error:
            # Arrow also raises a bare OSError for damaged pages; one of the file system has a number or a class.
            if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
                raise
            raise UserError(f"{uri} is not a readable Parquet file; download or write it again.") from None


def open_parquet(
    root: str, sizes: Mapping[str, int], image_column: str | None, label_column: str | None
) -> ParquetReader:
    """The reader of files below ``root``, given with their sizes in bytes.

    Raises UserError for missing columns, columns of another type in another file, or an unreadable file.
    """

    def footer(name: str) -> tuple[pa.Schema, tuple[int, ...]]:
        def read(file: Any) -> tuple[pa.Schema, tuple[int, ...]]:
            parquet = pq.ParquetFile(file)
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
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _column(schema: pa.Schema, uri: str, what: str, named: str | None, usual: Sequence[str], fits: Any) -> str:
    """The column the user named, or the one of a usual name, or the only one of a fitting type."""
    fitting = [f.name for f in schema if fits(f.type)]
    if named is not None:
        if named in fitting:
            return named
        found = f"has type {schema.field(named).type}" if named in schema.names else "is not there"
        raise UserError(
            f"The {what} column {named!r} of {uri} {found}; columns that can serve: {', '.join(fitting) or 'none'}."
        )
    choice = [name for name in usual if name in fitting] or fitting
    if len(choice) >= 1 and (choice[0] in usual or len(fitting) == 1):
        return choice[0]
    raise UserError(
        f"{uri} has no {what} column that can be told apart: its columns are {', '.join(schema.names)}; "
        f"name it with --{what}-column."
    )


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The names of a ClassLabel feature in the Hugging Face metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return None


# -- a tree of image files -----------------------------------------------------------------------------------------


@dataclass
class FolderReader:
    """An ImageFolder tree: SPLIT/CLASS/image.jpg; the classes are the folders of the training split, sorted."""

    root: str
    files: tuple[str, ...]  # below root
    sizes: tuple[int, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def facts(self) -> Any:
        return ["folder", list(zip(self.files, self.sizes, strict=True))]

    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        fs, path = located(self.root)
        for number in np.asarray(numbers).tolist():
            uri = f"{self.root}/{self.files[number]}"
            with reaching(uri, "read"):
                yield Item(fs.cat_file(f"{path}/{self.files[number]}"), self.labels[number], uri)

    def largest_label(self) -> int:
        return max(self.labels)


def folder_of_split(paths: Iterable[str], split: str) -> list[str]:
    """The paths SPLIT/CLASS/... of a split. Only the first folder names the split: a class may be called "train"."""
    return of_split((path for path in paths if path.count("/") >= 2), split, lambda path: path.partition("/")[0])


def open_folder(root: str, sizes: Mapping[str, int], split: str) -> FolderReader:
    """The reader of one split of an image tree, given as all its paths below ``root`` with their sizes in bytes.

    Where there are no training images, the classes are those of the split. Raises UserError for a class that the
    training images do not have.
    """
    chosen = folder_of_split(sizes, split)
    classes = sorted({path.split("/")[1] for path in folder_of_split(sizes, "train") or chosen})
    number = {name: n for n, name in enumerate(classes)}
    for path in chosen:
        if path.split("/")[1] not in number:
            raise UserError(
                f"{root}/{path} belongs to the class {path.split('/')[1]!r}, which the training images do not have; "
                f"they have {len(classes)} classes: {', '.join(classes[:10])}{' ...' if len(classes) > 10 else ''}."
            )
    labels = tuple(number[path.split("/")[1]] for path in chosen)
    return FolderReader(root, tuple(chosen), tuple(sizes[path] for path in chosen), labels, tuple(classes))


# -- torchvision's CIFAR10 root ------------------------------------------------------------------------------------

CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_FILES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "validation": ("test_batch",)}


class _ArraysOnly(pickle.Unpickler):
    """CIFAR-10's files are pickles; this admits what they hold, arrays, lists and strings, and runs nothing else."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "_frombuffer", "encode"})
    MODULES = frozenset({"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs", "numpy._core.numeric"})

    def find_class(self, module: str, name: str) -> Any:
        if module in self.MODULES and name in self.ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not part of CIFAR-10")


@dataclass
class Cifar10Reader:
    """The python version of CIFAR-10 as torchvision keeps it, one split; pixels are loaded when first asked for."""

    root: str
    files: tuple[str, ...]
    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    loaded: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "loaded": {}}

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def facts(self) -> Any:
        return ["cifar-10", list(self.files), list(self.counts)]

    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        starts = np.cumsum([0, *self.counts])
        for number in np.asarray(numbers).tolist():
            file = int(np.searchsorted(starts, number, side="right")) - 1
            row = number - int(starts[file])
            pixels, labels = self.batch(self.files[file])
            yield Item(pixels[row], int(labels[row]), f"{self.root}/{self.files[file]}, row {row}")

    def largest_label(self) -> int:
        return max(int(self.batch(name)[1].max()) for name in self.files)

    def batch(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (n, 32, 32, 3) uint8 and labels (n,) int64 of one file."""
        if name not in self.loaded:
            self.loaded[name] = _cifar10_file(f"{self.root}/{name}", _pixels_and_labels)
        found: tuple[np.ndarray, np.ndarray] = self.loaded[name]
        return found


def _pixels_and_labels(content: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.asarray(content["data"], dtype=np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = np.asarray(content["labels"], dtype=np.int64)
    if labels.shape != (len(pixels),):
        raise ValueError("as many labels as images")
    return np.ascontiguousarray(pixels), labels


def _cifar10_file(uri: str, take: Callable[[dict[str, Any]], Any]) -> Any:
    """What ``take`` finds in one file, a dictionary."""
    fs, path = located(uri)
    with reaching(uri, "read"):
        content = fs.cat_file(path)
    try:
        with warnings.catch_warnings():  # of NumPy, about how NumPy of 2009 wrote its types
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            loaded = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        return take({key.decode() if isinstance(key, bytes) else key: value for key, value in loaded.items()})
    except Exception:  # there is no end to what damaged pickles raise
        raise UserError(f"{uri} is not a file of CIFAR-10's python version; download the set again.") from None


def open_cifar10(root: str, split: str) -> Cifar10Reader:
    """The reader of one split below ``root``. Raises UserError for a missing or foreign file."""
    names = CIFAR10_FILES[split]
    classes = _cifar10_file(f"{root}/batches.meta", lambda content: tuple(map(str, content["label_names"])))
    reader = Cifar10Reader(root, names, classes, ())
    reader.counts = tuple(len(reader.batch(name)[1]) for name in names)
    return reader


def listing(root: str) -> dict[str, int]:
    """All files below ``root``: paths inside it, sorted, and sizes in bytes. Raises UserError for a missing folder."""
    fs, path = located(root)
    with reaching(root, "list"):
        if not fs.isdir(path):
            what = "is a file" if fs.exists(path) else "is not there"
            raise UserError(
                f"The images {root} {what}; name a folder or s3:// prefix of Parquet files, an ImageFolder tree, "
                "torchvision's CIFAR10 root, or cifar10-subset."
            )
        found = {posixpath.relpath(name, path): int(file["size"]) for name, file in fs.find(path, detail=True).items()}
    return {name: found[name] for name in sorted(found) if not posixpath.basename(name).startswith(".")}
