"""Images in the python version of CIFAR-10, torchvision's CIFAR10 root."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raycv.data.readers import Item, reach
from raycv.errors import UserError

CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_FILES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "validation": ("test_batch",)}


class _ArraysOnly(pickle.Unpickler):
    """CIFAR-10's files are pickles; this loads only arrays, lists and strings and runs no other code."""

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
    neighbours: int = 1

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
    content = reach(uri, "read", lambda fs, path: fs.cat_file(path))
    try:
        with warnings.catch_warnings():  # of NumPy, about how NumPy of 2009 wrote its types
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            loaded = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        return take({key.decode() if isinstance(key, bytes) else key: value for key, value in loaded.items()})
    except Exception:  # damaged pickles raise all kinds of errors
        raise UserError(f"{uri} is not a file of CIFAR-10's python version; download the set again.") from None


def open_cifar10(root: str, split: str) -> Cifar10Reader:
    """The reader of one split below ``root``. Raises UserError for a missing or foreign file."""
    names = CIFAR10_FILES[split]
    classes = _cifar10_file(f"{root}/batches.meta", lambda content: tuple(map(str, content["label_names"])))
    reader = Cifar10Reader(root, names, classes, ())
    reader.counts = tuple(len(reader.batch(name)[1]) for name in names)
    return reader
