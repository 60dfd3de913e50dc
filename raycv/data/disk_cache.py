"""Large files on S3 that are read bit by bit, again and again: a machine's disk keeps copies where it has room."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from raycv.data.readers import reach
from raycv.errors import UserError
from raycv.run.fingerprint import fingerprint

AT_ONCE = 4  # files that are copied side by side
SHARE = 0.5  # of the free disk that copies may take
_begun: set[str] = set()  # folders that this process fills


@dataclass(frozen=True)
class NearbyFiles:
    """Files below ``root``: name, bytes and sha256 of each. Those of a disk are mapped into memory where they are."""

    root: str
    files: tuple[tuple[str, int, str], ...]

    def read(self, file: int, begin: int, end: int) -> memoryview:
        """Some bytes of one file, from this machine's disk or else from S3. Raises UserError where they are missing."""
        name, size, _ = self.files[file]
        uri = f"{self.root}/{name}"
        here = uri if "://" not in uri else str(self._copy(name))
        if "://" not in uri or is_ours(here):
            found = memoryview(_mapped(here))[begin:end]
        else:
            found = reach(uri, "read", lambda fs, path: memoryview(fs.cat_file(path, start=begin, end=end)))
        if len(found) != end - begin:
            raise UserError(f"{uri} is not whole: it should have {size:,} bytes; prepare the images again.")
        return found

    def keep(self) -> None:
        """Begin to copy the files to this machine's disk, if they are not there and take at most half of its room.

        One process of a machine does so, in the background; what is there is used at once.
        """
        folder = self._folder
        if "://" not in self.root or str(folder) in _begun:
            return
        _begun.add(str(folder))
        with contextlib.suppress(OSError):  # a disk that refuses: everything is read from S3
            if not all(is_made_ours(place) for place in (folder.parent, folder)):
                return
            missing = [(name, size, sha) for name, size, sha in self.files if not os.path.lexists(self._copy(name))]
            if sum(size for _, size, _ in missing) <= SHARE * shutil.disk_usage(folder).free:
                threading.Thread(target=self._fetch, args=(missing,), daemon=True).start()

    def _fetch(self, missing: list[tuple[str, int, str]]) -> None:
        lock = self._folder / "lock"
        with contextlib.suppress(UserError, OSError), _locked(lock), ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._fetch_one, missing))

    def _fetch_one(self, file: tuple[str, int, str]) -> None:
        name, _, sha256 = file
        uri, target = f"{self.root}/{name}", self._copy(name)
        if os.path.lexists(target):
            return
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)  # of a process that has died
        try:
            reach(uri, "read", lambda fs, path: fs.get_file(path, str(part)))
            with part.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            if found == sha256:  # else it is read from S3, where a damaged image is named
                os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    @cached_property
    def _folder(self) -> Path:
        owner = os.getuid()
        return Path(tempfile.gettempdir()) / f"raycv-images-{owner}" / fingerprint([sha for _, _, sha in self.files])

    def _copy(self, name: str) -> Path:
        return self._folder / name.replace("/", "-")


def is_made_ours(folder: Path) -> bool:
    """Make a folder if it is not there; whether it is one of this user's and no link, which could lead anywhere."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, which another process takes over from one that has died."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_ours(path: str) -> bool:
    """Whether there is such a file, which another user cannot have put there, and no link."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()


@lru_cache(maxsize=4096)
def _mapped(path: str) -> mmap.mmap | bytes:
    return reach(path, "read", lambda _fs, there: _map(there))


def _map(path: str) -> mmap.mmap | bytes:
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # which cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
