"""Object stores beside S3, each by fsspec's own library for it, which an extra of raycv installs.

`raycv.run.filesystem` opens them and retries; what differs from S3 stands here: how a client is made that tries once,
who answers, conditional writes, and what an exception means.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import fsspec

from raycv.errors import UserError
from raycv.extras import how
from raycv.run.faults import Fault

CONNECT, READ = 5.0, 15.0  # seconds that a server may take to accept a connection, and between two parts of an answer


class NotAsExpected(Exception):
    """What a conditional write finds: another file than expected, or a file where there should be none."""


class NoSuchBucket(OSError):
    """Nothing can be in a bucket that is not there."""


class Cloud(Protocol):
    """One kind of object store."""

    name: str

    def filesystem(self) -> fsspec.AbstractFileSystem:
        """Its client, with the credentials that are the standard ones there."""

    def knock(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        """Ask for something small, before what may take long; returns where the store answers."""

    def read(self, fs: fsspec.AbstractFileSystem, path: str) -> bytes:
        """A file as it is at one moment, which what fsspec opens is not: that reads it part by part."""

    def tag(self, fs: fsspec.AbstractFileSystem, path: str) -> Any:
        """What tells a file from all that have stood in its place. Raises FileNotFoundError."""

    def put(self, fs: fsspec.AbstractFileSystem, path: str, content: bytes, tag: Any | None) -> None:
        """Write a file if it still has ``tag``; without one, if it is not there. Raises NotAsExpected."""

    def copy(self, fs: fsspec.AbstractFileSystem, source: str, target: str) -> None:
        """Copy a file inside the store; returns once all of it is there."""

    def written(self, fs: fsspec.AbstractFileSystem, path: str) -> datetime:
        """When a file was written, by the clock of the store."""

    def fault(self, error: BaseException) -> Fault | None:
        """What an exception means; None for one that is not of this store."""

    def errors(self) -> tuple[type[BaseException], ...]:
        """What its client raises beside OSError."""


def cloud_of(uri: str) -> Cloud | None:
    """The store behind ``uri``; None for S3 and for disks. Raises UserError where its extra is not installed."""
    scheme = uri.partition("://")[0] if "://" in uri else ""
    return _made(scheme) if scheme in EXTRAS else None


def cloud_behind(fs: fsspec.AbstractFileSystem) -> Cloud | None:
    """The store that a client is of."""
    schemes = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    scheme = next((scheme for scheme in EXTRAS if scheme in schemes), None)
    return _made(scheme) if scheme else None


def seconds_since_written(cloud: Cloud, fs: fsspec.AbstractFileSystem, path: str) -> float:
    """The age of a file by the clock of the store alone, which dates another file for that."""
    beside = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}.part"
    fs.pipe_file(beside, b".")
    try:
        return (cloud.written(fs, beside) - cloud.written(fs, path)).total_seconds()
    finally:
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(beside)


def _google() -> Cloud:
    from raycv.run.clouds.google import Google

    return Google()


def _azure() -> Cloud:
    from raycv.run.clouds.azure import Azure

    return Azure()


def _hub() -> Cloud:
    from raycv.run.clouds.hub import Hub

    return Hub()


READ_ONLY = "hf"
EXTRAS: dict[str, tuple[str, Callable[[], Cloud]]] = {
    "gs": ("gcs", _google),
    "az": ("azure", _azure),
    READ_ONLY: ("hub", _hub),
}
_known: dict[str, Cloud] = {}


def _made(scheme: str) -> Cloud:
    if scheme not in _known:
        extra, make = EXTRAS[scheme]
        try:
            _known[scheme] = make()
        except ModuleNotFoundError as error:
            raise UserError(
                f"{scheme}:// needs the package {error.name}, which is not installed; install it by: {how(extra)}."
            ) from None
    return _known[scheme]


def loaded() -> tuple[type[BaseException], ...]:
    """What the clients of the stores that are in use raise beside OSError."""
    return tuple(error for cloud in _known.values() for error in cloud.errors())
