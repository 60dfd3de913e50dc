"""Images as a tree of files: SPLIT/CLASS/image.jpg."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raycv.data.readers import Item, of_split, reach
from raycv.errors import UserError


@dataclass
class FolderReader:
    """An ImageFolder tree: SPLIT/CLASS/image.jpg; the classes are the folders of the training split, sorted."""

    root: str
    files: tuple[str, ...]  # below root
    sizes: tuple[int, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    neighbours: int = 1

    def __len__(self) -> int:
        return len(self.files)

    @property
    def facts(self) -> Any:
        return ["folder", list(zip(self.files, self.sizes, strict=True))]

    def items(self, numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        for number in np.asarray(numbers).tolist():
            uri = f"{self.root}/{self.files[number]}"
            yield Item(reach(uri, "read", lambda fs, path: fs.cat_file(path)), self.labels[number], uri)

    def largest_label(self) -> int:
        return max(self.labels)


def folder_of_split(paths: Iterable[str], split: str) -> list[str]:
    """The paths SPLIT/CLASS/... of a split. Only the first folder names the split: a class may be called "train"."""
    return of_split((path for path in paths if path.count("/") >= 2), split, lambda path: path.partition("/")[0])


def open_folder(root: str, sizes: Mapping[str, int], split: str) -> FolderReader:
    """The reader of one split of an image tree, given as all its paths below ``root`` with their sizes in bytes.

    Where there are no training images, the classes are those of the split. Raises UserError for a class that the
    training images do not have, a class without images and an image without bytes.
    """
    chosen = folder_of_split(sizes, split)
    of_classes = folder_of_split(sizes, "train") or chosen
    classes = sorted({path.split("/")[1] for path in of_classes})
    _check_folders(root, {path.split("/")[0] for path in of_classes}, classes)
    for path in chosen:
        if not sizes[path]:
            raise UserError(f"The image {root}/{path} is empty: it has no bytes; mend or remove it.")
    number = {name: n for n, name in enumerate(classes)}
    for path in chosen:
        if path.split("/")[1] not in number:
            raise UserError(
                f"{root}/{path} belongs to the class {path.split('/')[1]!r}, which the training images do not have; "
                f"they have {len(classes)} classes: {', '.join(classes[:10])}{' ...' if len(classes) > 10 else ''}."
            )
    labels = tuple(number[path.split("/")[1]] for path in chosen)
    return FolderReader(root, tuple(chosen), tuple(sizes[path] for path in chosen), labels, tuple(classes))


def _check_folders(root: str, splits: Iterable[str], classes: Sequence[str]) -> None:
    """Raise UserError for a class's folder without images: with it, the other classes would have other numbers."""
    for split in splits:
        entries = reach(f"{root}/{split}", "list", lambda fs, path: fs.ls(path, detail=True))
        folders = {posixpath.basename(entry["name"]) for entry in entries if entry["type"] == "directory"}
        for name in sorted(folders.difference(classes)):
            if not name.startswith("."):
                raise UserError(f"The class folder {root}/{split}/{name} holds no images; add some or remove it.")
