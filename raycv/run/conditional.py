"""Writing a file only where it is as expected, so that of several writers exactly one succeeds.

In object stores by conditional puts (on S3 If-None-Match and If-Match; `raycv.run.clouds`); on a disk by a hard link,
which also a network file system makes for one of several only, and by a lock on the file that is replaced. Contents
must differ from writer to writer.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions as boto
import fsspec

from raycv.run.clouds import Cloud, NotAsExpected, cloud_behind

EXISTS, CONFLICT, UNKNOWN = 412, 409, 501  # what a server answers: not as expected, another writer now, no such thing
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


def create(fs: fsspec.AbstractFileSystem, path: str, content: bytes) -> bool:
    """Write ``path`` if it is not there; returns whether it now has ``content``."""
    if _is_s3(fs):
        return _put(fs, path, content, IfNoneMatch="*")
    cloud = cloud_behind(fs)
    if cloud is not None:
        return _put_in_cloud(cloud, fs, path, content, None)
    while True:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with _written(path, content) as part, contextlib.suppress(FileExistsError):
                _link(part, path, content)
        except FileNotFoundError:  # another has just removed the folder, which was empty
            continue
        return _read(fs, path) == content


def replace(fs: fsspec.AbstractFileSystem, path: str, before: bytes, content: bytes) -> bool:
    """Write ``path`` if it has the content ``before``; returns whether it now has ``content``."""
    if _is_s3(fs):
        try:
            tag = fs.info(path, refresh=True)["ETag"]
        except FileNotFoundError:
            return False
        found = _read(fs, path)
        return found == content or (found == before and _put(fs, path, content, IfMatch=tag))
    cloud = cloud_behind(fs)
    if cloud is not None:
        try:
            tag = cloud.tag(fs, path)
        except FileNotFoundError:
            return False
        found = _read(fs, path)
        return found == content or (found == before and _put_in_cloud(cloud, fs, path, content, tag))
    with _locked(path) as found, _written(path, content) as part:
        if found == before:
            os.replace(part, path)
    return _read(fs, path) == content


def refuses_to_create_twice(fs: fsspec.AbstractFileSystem, path: str, content: bytes) -> bool:
    """Whether the store heeds conditions at all; ``path`` is there and has ``content``."""
    cloud = cloud_behind(fs)
    if cloud is not None:
        try:
            cloud.put(fs, path, content, None)
        except NotAsExpected:
            return True
        return False
    if not _is_s3(fs):
        return True
    bucket, key, _ = fs.split_path(path)
    try:
        fs.call_s3("put_object", Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except OSError as error:
        if _status(error) == EXISTS:
            return True
        if _status(error) != UNKNOWN:
            raise
    return False


def now_in(folder: str) -> float:
    """The time by the clock that dates the files of a folder of a disk, which may be another machine's.

    That of this machine where no file can be written.
    """
    try:
        with _written(f"{folder}/now", b".") as part:
            return os.stat(part).st_mtime
    except OSError:
        return time.time()


# -- S3 --------------------------------------------------------------------------------------------------------------


def _is_s3(fs: fsspec.AbstractFileSystem) -> bool:
    return "s3" in fs.protocol


def _put(fs: fsspec.AbstractFileSystem, path: str, content: bytes, **condition: str) -> bool:
    bucket, key, _ = fs.split_path(path)
    while True:
        try:
            fs.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
        except OSError as error:
            status = _status(error)
            if status == UNKNOWN:  # the best that such a server allows
                if "IfMatch" in condition or not fs.exists(path):
                    fs.pipe_file(path, content)
                return _read(fs, path) == content
            if status == CONFLICT:
                time.sleep(0.1)
                continue
            if status not in (EXISTS, 404):
                raise
            return _read(fs, path) == content  # of an earlier try, the answer to which was lost
        return True


def _put_in_cloud(cloud: Cloud, fs: fsspec.AbstractFileSystem, path: str, content: bytes, tag: Any) -> bool:
    try:
        cloud.put(fs, path, content, tag)
    except NotAsExpected:
        return _read(fs, path) == content  # of an earlier try, the answer to which was lost
    return True


def _status(error: BaseException) -> int:
    """The status with which a server has answered; 0 where it has not."""
    cause = error.__cause__ or error
    answer: dict[str, Any] = cause.response if isinstance(cause, boto.ClientError) else {}
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _read(fs: fsspec.AbstractFileSystem, path: str) -> bytes | None:
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError:
        return None
    return content


# -- disk ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _written(path: str, content: bytes) -> Iterator[str]:
    """A file of another name beside ``path`` with ``content``, which is gone afterwards."""
    part = f"{os.path.dirname(path)}/.{uuid.uuid4().hex}.part"
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield part
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _link(part: str, path: str, content: bytes) -> None:
    """Let ``path`` be ``part``. Raises FileExistsError where it is there."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with open(path, "xb") as file:
            file.write(content)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[bytes | None]:
    """The content of ``path``, which no other caller replaces meanwhile; None where it is not there."""
    while True:
        try:
            file = open(path, "r+b")  # noqa: SIM115 (closed below)
        except FileNotFoundError:
            yield None
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            if _is_still(file.fileno(), path):
                yield file.read()
                return


def _is_still(descriptor: int, path: str) -> bool:
    """Whether ``path`` is the open file and not one that has replaced it since."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
