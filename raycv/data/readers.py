"""What every layout of images has in common: a reader counts them and returns any, still encoded."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import fsspec
import numpy as np

from raycv.errors import UserError
from raycv.run.faults import fault_of
from raycv.run.filesystem import reaching, with_retries

T = TypeVar("T")
EMBEDDED, EMBEDDED_TEXTS = "cifar10-subset", "shakespeare"
OWN = {EMBEDDED: ("images", "raycv-images"), EMBEDDED_TEXTS: ("texts", "raycv-texts")}  # packages of their own
PACKAGES = Path(__file__).parents[2] / "packages"
SPLITS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev", "test")}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif")
READ = (*SUFFIXES, ".parquet", ".jsonl", ".ndjson", ".tar", "batches.meta")  # ends of the names of files that are read
OF_IMAGES = (
    "a folder or prefix of Parquet or tar files, an ImageFolder tree, torchvision's CIFAR10 root, or cifar10-subset"
)


class NoSuchSplit(UserError):
    """There are images, but none of the split asked for."""


class Item(NamedTuple):
    """One image as it is stored: encoded bytes or pixels (H, W, 3), its label, and where it is stored."""

    content: bytes | np.ndarray | None
    label: int | None
    origin: str


class Reader(Protocol):
    """One split of a set of images."""

    @property
    def root(self) -> str: ...  # what all its files are below
    @property
    def class_names(self) -> tuple[str, ...] | None: ...  # None where the layout does not name classes
    @property
    def facts(self) -> Any: ...  # what identifies the images: JSON, the same on every machine
    @property
    def neighbours(self) -> int: ...  # images that are read together; 1 where each is read alone
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


def reach(uri: str, operation: str, action: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
    """`raycv.run.filesystem.with_retries`; raycv's own images and texts are those that this process finds."""
    name, slash, inside = uri.partition("/")
    return with_retries(f"{own(name)}{slash}{inside}" if name in OWN else uri, operation, action)


def own_images() -> Path:
    """The folder of raycv's own images. Raises UserError."""
    return own(EMBEDDED)


def own(name: str) -> Path:
    """The folder of one of ``OWN``: of its package, or in the checkout that raycv is in. Raises UserError."""
    what, called = OWN[name]
    module = called.replace("-", "_")
    package = find_spec(module)
    folder = Path(package.origin).parent if package and package.origin else PACKAGES / called / module
    if not folder.is_dir():
        raise UserError(
            f"The {what} {name} are a package of their own, {called}, which is not installed; install it from "
            f"packages/{called} of raycv's repository, or name {what} of your own with --data."
        )
    return folder


def listing(root: str, what: str = "images", allowed: str = OF_IMAGES) -> dict[str, int]:
    """All files below ``root``: paths inside it, sorted, and sizes in bytes. Raises UserError for a missing folder.

    ``what`` is looked for there, and ``allowed`` how it may lie there.
    """

    def find(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, int]:
        if not fs.isdir(path):
            found = "is a file" if fs.exists(path) else "is not there"
            raise UserError(f"The {what} {root} {found}; name {allowed}.")
        if "://" not in root:
            return _on_disk(path, what)
        return {posixpath.relpath(name, path): int(file["size"]) for name, file in fs.find(path, detail=True).items()}

    found = reach(root, "list", find)
    return {name: found[name] for name in sorted(found) if not posixpath.basename(name).startswith(".")}


def _on_disk(root: str, what: str) -> dict[str, int]:
    """All files below the folder ``root``, links followed, with the sizes of those that may hold images or texts.

    Raises UserError for a folder or a file of images that cannot be read, rather than leave a class out.
    """
    found: dict[str, int] = {}

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"Could not list {error.filename}: {fault_of(error).sentence}") from error

    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        for name in folders:
            link = os.path.join(folder, name)
            inside, target = os.path.realpath(folder), os.path.realpath(link)
            if os.path.islink(link) and os.path.commonpath([inside, target]) == target:
                raise UserError(f"The link {link} leads back to a folder that it is in; remove it.")
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = _size_of(path, what) if name.lower().endswith(READ) else 0
    return found


def _size_of(path: str, what: str) -> int:
    with reaching(path, "read"):
        facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):
        raise UserError(f"{path} is no file but a pipe or device; remove it from the {what}.")
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise UserError(f"Could not read {path}: permission was denied.")
    return facts.st_size
