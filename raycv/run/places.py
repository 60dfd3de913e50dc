"""Whether two places are one, or one is inside the other, however they are written."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator


def overlap(first: str, second: str) -> bool:
    """Whether two local paths or URIs of object stores name the same place, or one a place inside the other.

    Links, ``..``, relative paths and slashes make no difference; local places are compared as the system does.
    """
    if _scheme(first) != _scheme(second):
        return False
    if "://" in first:
        a, b = _of_store(first), _of_store(second)
        shared = min(len(a), len(b))
        return a[:shared] == b[:shared]
    return _is_in(first, second) or _is_in(second, first)


def _scheme(place: str) -> str:
    """Of which store a place is, also where it has several names; empty for a disk."""
    scheme = place.partition("://")[0].lower() if "://" in place else ""
    return "s3" if scheme.startswith("s3") else scheme


def _of_store(uri: str) -> list[str]:
    """Bucket and folders. Doubled slashes and dots, which S3 tells apart, do not count: clients may drop them."""
    return posixpath.normpath("/" + uri.partition("://")[2]).strip("/").split("/")


def _is_in(inner: str, outer: str) -> bool:
    outer = os.path.realpath(os.path.expanduser(outer))
    return any(_is_one(place, outer) for place in _upwards(os.path.realpath(os.path.expanduser(inner))))


def _upwards(path: str) -> Iterator[str]:
    yield path
    while (above := os.path.dirname(path)) != path:
        path = above
        yield path


def _is_one(a: str, b: str) -> bool:
    try:
        return a == b or os.path.samefile(a, b)
    except OSError:  # one is not there
        return False
