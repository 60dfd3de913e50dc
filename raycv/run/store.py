"""RunStore: one run's folder, on a local disk, on S3 or in another object store. The only file that writes a run.

A file becomes visible whole or not at all: locally it is written under a temporary name and renamed, on S3 an object
appears when its upload completes. Every write replaces what stood under the same name, so a stage can be run again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import fsspec
import numpy as np

from raycv import telemetry
from raycv.errors import UserError
from raycv.memory import available
from raycv.run import conditional, removal
from raycv.run.clouds import READ_ONLY, cloud_behind, seconds_since_written
from raycv.run.damage import OF_ARRAYS
from raycv.run.filesystem import check_file, filesystem, is_known_reachable, mark_reachable, reaching, with_retries

T = TypeVar("T")
TEMPORARY = ".part"  # suffix of files that are being written
SMALL = 100  # bytes: archives below have no arrays
SHOWN = 3  # of files that are in the way, this many are named


class RunStore:
    """One run's folder. Cheap to make and picklable, so that every Ray process can hold its own."""

    def __init__(self, uri: str) -> None:
        filesystem(uri)
        if uri.startswith(f"{READ_ONLY}://"):
            raise UserError(f"{uri} cannot be written: only images are read from there; name a folder or a bucket.")
        self.uri = uri.rstrip("/") if "://" in uri else os.path.abspath(os.path.expanduser(uri))
        if os.path.lexists(self.uri) and not os.path.isdir(self.uri):
            raise UserError(f"{self.uri} is not a folder, and a run is one; name another place with --run.")

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "answered": is_known_reachable(self.uri)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.uri = state["uri"]
        if state["answered"]:  # the process that sent it here has reached it
            mark_reachable(self.uri)

    # -- files ---------------------------------------------------------------------------------------------------

    def locate(self, path: str) -> str:
        """The full URI of a file of the run, as a person or pandas would name it.

        Raises UserError for a path that leaves the run: names of networks and layers come from files.
        """
        if path.startswith("/") or ".." in path.split("/"):
            raise UserError(f"{path!r} is not inside the run {self.uri}; its files have been tampered with.")
        return f"{self.uri}/{path}" if path else self.uri

    def _to_write(self, path: str) -> str:
        """`locate`, for a file that is to be written. Raises UserError where a link of the user's is in the way."""
        if "://" not in self.uri:
            removal.check_no_link(self.uri, path)
        return self.locate(path)

    def _try(self, operation: str, path: str, action: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
        return with_retries(self.locate(path), operation, action)

    def write(self, path: str, content: bytes) -> str:
        """Write one file whole; returns its URI."""
        if "://" in self.uri:
            self._try("write", path, lambda fs, full: fs.pipe_file(full, content))
            telemetry.count("raycv_bytes_written", len(content))
        else:
            with self.create(path) as file:
                file.write(content)
        return self.locate(path)

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        """A file to write into, which appears under ``path`` once the block ends without an exception."""
        if "://" in self.uri:
            with tempfile.NamedTemporaryFile(suffix=TEMPORARY) as file:
                yield file
                file.flush()
                self._try("write", path, lambda fs, full: fs.put_file(file.name, full))
                telemetry.count("raycv_bytes_written", os.path.getsize(file.name))
            return
        full = Path(self._to_write(path))
        part = full.with_name(f".{uuid.uuid4().hex}{TEMPORARY}")
        with reaching(str(full), "write"):
            full.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                    telemetry.count("raycv_bytes_written", file.tell())
                os.replace(part, full)
            finally:
                part.unlink(missing_ok=True)

    def put_in_place(self, path: str, to: str) -> None:
        """Move the file ``path`` to ``to`` in one step, replacing any file there.

        The file ``path`` may still exist afterwards; it goes when its folder is removed.
        """

        def put(fs: fsspec.AbstractFileSystem, source: str) -> None:
            target = filesystem(self._to_write(to))[1]
            if "://" in self.uri:
                cloud = cloud_behind(fs)
                copy = partial(cloud.copy, fs) if cloud else fs.cp_file
                copy(source, target)  # fsspec's `copy` would take * and [ in a name for a pattern
            else:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.replace(source, target)

        self._try("put in place", path, put)

    def create_once(self, path: str, content: bytes) -> bool:
        """Write one file if it is not there; of several callers one succeeds. ``content`` is this caller's alone."""
        self._to_write(path)
        return self._try("create", path, lambda fs, full: conditional.create(fs, full, content))

    def replace_if(self, path: str, before: bytes, content: bytes) -> bool:
        """Write one file if it still has the content ``before``; of several callers one succeeds."""
        self._to_write(path)
        return self._try("replace", path, lambda fs, full: conditional.replace(fs, full, before, content))

    def refuses_to_create_twice(self, path: str, content: bytes) -> bool:
        """Whether the store heeds the conditions of `create_once`; ``path`` has just been created with ``content``."""
        return self._try("create", path, lambda fs, full: conditional.refuses_to_create_twice(fs, full, content))

    def age(self, path: str) -> float:
        """Seconds since a file was written, by the clock of its store; negative where that clock was set back since."""

        def seconds(fs: fsspec.AbstractFileSystem, full: str) -> float:
            if "://" not in self.uri:
                written = os.stat(full).st_mtime
                return conditional.now_in(os.path.dirname(full)) - written
            cloud = cloud_behind(fs)
            if cloud is not None:
                return seconds_since_written(cloud, fs, full)
            bucket, key, _ = fs.split_path(full)
            found = fs.call_s3("head_object", Bucket=bucket, Key=key)
            now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
            return float((now - found["LastModified"]).total_seconds())

        return self._try("look at", path, seconds)

    def read(self, path: str) -> bytes:
        """The content of one file. Raises UserError where it is not there."""

        def whole(fs: fsspec.AbstractFileSystem, full: str) -> bytes:
            check_file(fs, full)
            cloud = cloud_behind(fs)
            content: bytes = cloud.read(fs, full) if cloud else fs.cat_file(full)
            telemetry.count("raycv_bytes_read", len(content))
            return content

        return self._try("read", path, whole)

    def open(self, path: str, use: Callable[[IO[bytes]], T]) -> T:
        """Open one file for reading and return ``use(file)``; starts again if the store fails meanwhile."""

        def opened(fs: fsspec.AbstractFileSystem, full: str) -> T:
            check_file(fs, full)
            cloud = cloud_behind(fs)
            with io.BytesIO(cloud.read(fs, full)) if cloud else fs.open(full, "rb") as file:
                telemetry.count("raycv_bytes_read", file.seek(0, os.SEEK_END))
                file.seek(0)
                return use(file)

        return self._try("read", path, opened)

    def exists(self, path: str) -> bool:
        """Whether a file (or, locally, a folder) of the run is there."""
        return bool(self._try("look for", path, lambda fs, full: fs.exists(full)))

    def list(self, folder: str) -> list[str]:
        """The files below ``folder``, as paths inside the run, sorted; empty where there is no such folder."""

        def find(fs: fsspec.AbstractFileSystem, full: str) -> list[str]:
            # Other writers leave empty objects, named with a slash at the end, that stand for folders.
            names = [name for name in fs.find(full) if not name.endswith(("/", TEMPORARY))]
            names = [name for name in names if name != full]  # a server may list a folder that was emptied
            return sorted(f"{folder}{name[len(full) :]}".lstrip("/") for name in names)

        return self._try("list", folder, find)

    def sizes(self) -> dict[str, int]:
        """The bytes of every file of the run, also of those that are being written or were left behind."""

        def find(fs: fsspec.AbstractFileSystem, full: str) -> dict[str, int]:
            found = fs.find(full, detail=True).items()
            return {name[len(full) + 1 :]: facts["size"] for name, facts in found if name.rstrip("/") != full}

        return {path: size for path, size in self._try("list", "", find).items() if not path.endswith("/")}

    def others(self, ours: Callable[[str], bool] = lambda path: False) -> Sequence[str]:
        """The first few files that are there and not ``ours``, and links; none of a folder that is not there."""
        return self._try("list", "", lambda fs, full: removal.others(fs, full, ours, SHOWN + 1))

    def remove(self, folder: str) -> Sequence[str]:
        """Remove a folder with everything below it, or one file; returns what was there, as paths inside the run.

        What raycv cannot have written (`raycv.run.names`) stays where it is, and links stay with all they lead to.
        """
        root = filesystem(self.uri)[1]
        return self._try("remove", folder, lambda fs, _full: removal.remove(fs, root, folder))

    def remove_folder_if_empty(self, folder: str) -> None:
        """Remove a folder in which there is nothing. On S3 there are no folders."""
        if "://" not in self.uri:
            with contextlib.suppress(OSError):
                os.rmdir(self.locate(folder))

    # -- JSON and arrays -----------------------------------------------------------------------------------------

    def read_json(self, path: str, remedy: str = "remove it and run its stage again") -> dict[str, Any]:
        """One JSON object. Raises UserError, which ends in ``remedy``, for a file that holds something else."""
        try:
            content: Any = json.loads(self.read(path))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise UserError(f"{self.locate(path)} is damaged: it does not hold a JSON object; {remedy}.")
        return content

    def write_json(self, path: str, content: Mapping[str, Any]) -> str:
        """Write one JSON object; returns its URI."""
        return self.write(path, as_json(content))

    def read_arrays(self, path: str) -> dict[str, np.ndarray]:
        """Named arrays written by ``write_arrays``. Raises UserError for a file that holds something else."""
        content = io.BytesIO(self.read(path))
        with _refusing_damage(self.locate(path)), _arrays_in(content) as file:
            return {name: _array(file, name) for name in file.files}

    def open_arrays(self, path: str) -> StoredArrays:
        """Named arrays of a file, each read when it is asked for; to be used in a ``with`` block."""
        return StoredArrays(self.locate(path))

    def write_arrays(self, path: str, arrays: Mapping[str, np.ndarray]) -> str:
        """Write named arrays as one uncompressed ``.npz``; returns its URI."""
        with self.create(path) as file:
            np.savez(file, **dict(arrays))  # type: ignore[arg-type]
        return self.locate(path)


def as_json(content: Mapping[str, Any]) -> bytes:
    """One JSON object as the bytes of a file."""
    return json.dumps(content, indent=2, sort_keys=False).encode() + b"\n"


@contextlib.contextmanager
def _refusing_damage(uri: str) -> Iterator[None]:
    try:
        yield
    except OF_ARRAYS:
        raise UserError(
            f"{uri} is damaged: it does not hold named arrays; remove it and run its stage again."
        ) from None


def _arrays_in(file: IO[bytes]) -> Any:
    """The arrays of an ``.npz`` file, open. Raises one of OF_ARRAYS for a file that is none."""
    is_small = file.seek(0, os.SEEK_END) < SMALL
    file.seek(0)
    if is_small:  # fsspec 2026.9 raises ValueError where zipfile, which looks before the start, counts on OSError
        file = io.BytesIO(file.read())
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise ValueError("one array, not named ones")
    packed = [
        entry.file_size
        for entry in (loaded.zip.infolist() if loaded.zip else ())
        if entry.compress_type != zipfile.ZIP_STORED
    ]
    if sum(packed) > available():  # raycv packs nothing
        raise ValueError("its arrays do not fit into memory")
    return loaded


def _array(arrays: Any, name: str) -> np.ndarray:
    found = arrays[name]
    if not isinstance(found, np.ndarray):  # a file of another kind in the archive
        raise ValueError(f"{name} is not an array")
    return found


class StoredArrays(Mapping[str, np.ndarray]):
    """The arrays of one ``.npz`` file, read one by one; opened again where the store fails meanwhile."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._opened: contextlib.ExitStack | None = None
        self._arrays: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = self._arrays = None

    def _using(self, use: Callable[[Any], T]) -> T:
        def action(fs: fsspec.AbstractFileSystem, path: str) -> T:
            try:
                if self._opened is None:
                    check_file(fs, path)
                    with contextlib.ExitStack() as stack:
                        file = stack.enter_context(fs.open(path, "rb"))
                        self._arrays = stack.enter_context(_arrays_in(file))
                        self._opened = stack.pop_all()
                return use(self._arrays)
            except OSError:
                self.__exit__(None, None, None)
                raise

        with _refusing_damage(self.uri):
            return with_retries(self.uri, "read", action)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self:
            raise KeyError(name)
        found = self._using(lambda arrays: _array(arrays, name))
        telemetry.count("raycv_bytes_read", found.nbytes)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._using(lambda arrays: list(arrays.files)))

    def __len__(self) -> int:
        return len(self._using(lambda arrays: arrays.files))

    def __contains__(self, name: object) -> bool:
        return bool(self._using(lambda arrays: name in arrays.files))
