"""What is below a folder of a store, and removing of it what raycv has written. Links are never followed.

`raycv.run.names` says what raycv has written. A link is the user's, and so is all that it leads to.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

import fsspec
from botocore.exceptions import ClientError
from fsspec.implementations.local import LocalFileSystem

from raycv.errors import UserError
from raycv.run import names
from raycv.run.clouds import cloud_behind

AT_ONCE = 1000  # objects that S3 deletes in one request, at most


def others(fs: fsspec.AbstractFileSystem, root: str, ours: Callable[[str], bool], most: int) -> list[str]:
    """The first ``most`` files below ``root`` that are not ``ours``, and links of any name; paths below ``root``."""
    found = []
    for path, is_file in _below(fs, root, ""):
        if not (is_file and ours(path)):
            found.append(path)
        if len(found) == most:
            break
    return found


def remove(fs: fsspec.AbstractFileSystem, root: str, folder: str) -> list[str]:
    """Remove what raycv has written of the file or folder ``folder``; returns the files, as paths below ``root``.

    Folders that are empty then go too.
    """
    if _is_on_disk(fs) and link_on_the_way(root, folder):
        return []
    found = [path for path, is_file in _below(fs, root, folder) if is_file and names.is_ours(path)]
    if not _is_on_disk(fs):
        _delete(fs, root, found)
        return found
    for path in found:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{root}/{path}")
    for there, _, _ in os.walk(f"{root}/{folder}", topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(there)
    return found


def link_on_the_way(root: str, path: str) -> str | None:
    """The first link between the folder ``root`` of a disk and the file ``path`` below it, itself included."""
    there = root
    for part in path.split("/"):
        there = f"{there}/{part}"
        if os.path.islink(there):
            return there
    return None


def check_no_link(root: str, path: str) -> None:
    """Raise UserError where writing to ``path`` would replace a link, or write where one leads."""
    link = link_on_the_way(root, path)
    if link is not None:
        raise UserError(
            f"{link} is a link, to {os.path.realpath(link)}, and what it leads to is not raycv's to change; put a "
            "folder or file in its place, or name another folder (which may be a link as a whole)."
        )


def _is_on_disk(fs: fsspec.AbstractFileSystem) -> bool:
    return isinstance(fs, LocalFileSystem)


def _below(fs: fsspec.AbstractFileSystem, root: str, folder: str) -> Iterator[tuple[str, bool]]:
    """All files of ``folder`` below ``root``, or that one file, and whether each is one: not a link, pipe or device."""
    if not _is_on_disk(fs):
        yield from ((name, True) for name in _keys(fs, root, folder))
        return
    top = f"{root}/{folder}" if folder else root
    if os.path.lexists(top) and ((folder and os.path.islink(top)) or not os.path.isdir(top)):
        yield folder, stat.S_ISREG(os.lstat(top).st_mode)
        return
    for there, folders, files in os.walk(top, onerror=_raise):
        for name in sorted([*files, *(name for name in folders if os.path.islink(os.path.join(there, name)))]):
            path = os.path.join(there, name)
            with contextlib.suppress(FileNotFoundError):  # gone since
                yield os.path.relpath(path, root), stat.S_ISREG(os.lstat(path).st_mode)
        folders.sort()


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _keys(fs: fsspec.AbstractFileSystem, root: str, folder: str) -> Iterator[str]:
    """Objects whose names stand for folders (they end in a slash) are none of the files."""
    if cloud_behind(fs) is not None:
        top = f"{root}/{folder}" if folder else root
        paths = (name[len(root) + 1 :] for name in fs.find(top) if name.startswith(f"{root}/"))
        yield from (path for path in paths if path and not path.endswith("/"))
        return
    bucket, key, _ = fs.split_path(root)
    before = f"{key}/" if key else ""
    more: dict[str, str] = {}
    while True:
        try:
            page: dict[str, Any] = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=before + folder, **more)
        except FileNotFoundError:  # no such bucket
            return
        for entry in page.get("Contents", ()):
            path = entry["Key"].removeprefix(before)
            if not path.endswith("/") and path and (not folder or path == folder or path.startswith(f"{folder}/")):
                yield path
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _delete(fs: fsspec.AbstractFileSystem, root: str, paths: list[str]) -> None:
    """Delete objects by their names, in which, unlike in what fsspec removes, ``*`` and ``[`` stand for themselves."""
    if cloud_behind(fs) is not None:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(f"{root}/{path}")
        return
    bucket, key, _ = fs.split_path(root)
    for first in range(0, len(paths), AT_ONCE):
        wanted = [{"Key": f"{key}/{path}" if key else path} for path in paths[first : first + AT_ONCE]]
        answer = fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": wanted, "Quiet": True})
        for error in answer.get("Errors", ()):
            if error.get("Code") != "NoSuchKey":
                raise ClientError({"Error": {"Code": error.get("Code", "")}}, "DeleteObjects")
