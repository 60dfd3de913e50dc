"""Access to files on a local disk or on S3: what a failure means, how long to retry, what to tell the user."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPException
from typing import TypeVar

import botocore.exceptions as boto
import fsspec
from fsspec.implementations.local import LocalFileSystem

from raycv import telemetry
from raycv.errors import UserError
from raycv.progress import say

T = TypeVar("T")


class Patience(Enum):
    """How long to retry."""

    NONE = "it will fail again"
    BRIEF = "a server that starts up, or a mistake that a user should hear of soon"
    MEDIUM = "credentials that worked: a server that starts up refuses too"
    LONG = "a store that worked and will work again"

    @property
    def waits(self) -> tuple[float, ...]:
        """The seconds to wait between tries."""
        return WAITS[self]


WAITS = {
    Patience.NONE: (),
    Patience.BRIEF: (0.1, 0.2, 0.4, 0.8, 1.5),
    Patience.MEDIUM: (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 8.0),
    Patience.LONG: (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 9.0, 9.0, 9.0),
}


@dataclass(frozen=True)
class Fault:
    """What an exception means: one sentence for a person, and whether it may pass."""

    sentence: str
    patience: Patience


_answered: set[str] = set()  # stores that have answered this process or one that sent it work


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and path behind a local path or an ``s3://bucket/prefix``.

    Credentials and endpoint of S3 are the standard ones (AWS_ACCESS_KEY_ID ..., AWS_PROFILE, AWS_ENDPOINT_URL).
    """
    if "\0" in uri:
        raise UserError(f"Cannot use {uri!r}: no name of a file or folder holds a null character.")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(uri))
    if scheme == "s3" and rest.strip("/"):
        if not (os.environ.get("AWS_ENDPOINT_URL") or "http://").startswith(("http://", "https://")):
            raise UserError(f"Cannot use {uri}: AWS_ENDPOINT_URL is not a URL such as https://s3.example.com.")
        # Listings are never cached: another process of the same run may just have written a file.
        # `patiently` tries again by itself, and sooner than the client would.
        limits = {"retries": {"max_attempts": 0}, "connect_timeout": 5, "read_timeout": 20}
        return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=limits), rest.strip("/")
    raise UserError(f"Cannot use {uri!r}: expected a local path or s3://bucket/prefix.")


def patiently(uri: str, operation: str, action: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
    """Call ``action(file system, path)`` for ``uri`` and retry while the failure may pass.

    Retries for about forty seconds if the store has answered before, for half of that if it refuses the credentials,
    otherwise for a few seconds. Tells the user what it waits for. If it gives up, raises UserError with ``uri`` and
    ``operation``.
    """
    fs, path = filesystem(uri)
    tries: Counter[Patience] = Counter()  # a server may refuse once it is back from an outage
    while True:
        try:
            result = action(fs, path)
        except errors() as error:
            fault = fault_of(error)
            patience = fault.patience if has_answered(uri) or fault.patience is Patience.NONE else Patience.BRIEF
            if tries[patience] >= len(patience.waits):
                if fault.patience is not Patience.NONE:
                    distrust(uri)
                raise UserError(f"Could not {operation} {uri}: {fault.sentence}") from error
            wait = patience.waits[tries[patience]]
            if wait >= 4:
                say(f"Could not {operation} {uri} yet: {fault.sentence} Trying again in {wait:g} s.")
            time.sleep(wait)
            tries[patience] += 1
            telemetry.count("raycv_retries", operation=operation)
        else:
            remember(uri)
            return result


def check_file(fs: fsspec.AbstractFileSystem, path: str) -> None:
    """Raise UserError for what is no file: reading a pipe could wait for ever, and a device never ends."""
    if isinstance(fs, LocalFileSystem) and not stat.S_ISREG(os.stat(path).st_mode):
        raise UserError(
            f"{path} is not a file but a folder, pipe or device; remove it, or put a copy of the file back."
        )


@contextlib.contextmanager
def reaching(uri: str, operation: str) -> Iterator[None]:
    """Turn what a file system raises into one sentence that names the URI and the operation."""
    try:
        yield
    except errors() as error:
        raise UserError(f"Could not {operation} {uri}: {fault_of(error).sentence}") from error


def errors() -> tuple[type[BaseException], ...]:
    """All exceptions that the file systems behind fsspec raise when a file cannot be reached."""
    return (OSError, boto.BotoCoreError, boto.ClientError, *_DISCONNECTED, *_of_aiohttp())


def _of_aiohttp() -> tuple[type[BaseException], ...]:
    """The errors of the S3 client's HTTP library, which is loaded only once S3 is used."""
    loaded = sys.modules.get("aiohttp")
    return (loaded.ClientError,) if loaded else ()


def remember(uri: str) -> None:
    """Note that the store behind ``uri`` has answered, so that later failures count as temporary."""
    _answered.add(_store_of(uri))


def distrust(uri: str) -> None:
    """Give the store behind ``uri`` only a few seconds from now on, until it answers again."""
    _answered.discard(_store_of(uri))


def has_answered(uri: str) -> bool:
    """Whether the store behind ``uri`` is known to work."""
    return _store_of(uri) in _answered


def _store_of(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}://{rest.split('/')[0]}" if separator else "disk"


# -- what a failure means --------------------------------------------------------------------------------------------

_BAD_NAMES = {"InvalidBucketName", "InvalidBucketNameException"}
_REFUSALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "ExpiredToken",
    "InvalidToken",
    "403",
    "401",
}
_BUSY = {"SlowDown", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "InternalError", "Throttling"}
_DISCONNECTED = (
    boto.HTTPClientError,
    boto.ConnectionError,
    HTTPException,
    ConnectionError,
    TimeoutError,
)
_PASSING_ON_DISK = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EBUSY}


def fault_of(error: BaseException) -> Fault:
    """What ``error`` means. Its sentence never quotes a message, which could hold a signed request."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, boto.ClientError):
            return _answer(link)
    for link in chain:
        if isinstance(link, boto.BotoCoreError):
            return _before_the_answer(link)
    if any(isinstance(link, (*_DISCONNECTED, *_of_aiohttp())) for link in chain):
        return Fault("the server does not answer; check AWS_ENDPOINT_URL and the network.", Patience.LONG)
    if isinstance(error, FileNotFoundError):
        return Fault("there is no such file or folder.", Patience.NONE)
    if isinstance(error, PermissionError):
        return Fault("permission was denied.", Patience.NONE)
    if isinstance(error, OSError) and error.strerror:
        passing = error.errno in _PASSING_ON_DISK
        return Fault(f"{error.strerror}.", Patience.LONG if passing else Patience.NONE)
    return Fault(f"{type(error).__name__}.", Patience.LONG)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


def _answer(error: boto.ClientError) -> Fault:
    """The meaning of an error that the S3 server answered with."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return Fault("the bucket does not exist; create it or name another.", Patience.NONE)
    if code in _BAD_NAMES:
        return _bad_name()
    if code in _REFUSALS or status in (401, 403):
        sentence = "the S3 server refused the credentials; check the key, its permissions and the bucket's name."
        return Fault(sentence, Patience.MEDIUM)
    if code in _BUSY or status >= 500 or status == 429:
        return Fault(f"the S3 server is failing ({code or status}).", Patience.LONG)
    if code == "PreconditionFailed" or status == 412:
        return Fault("the file was replaced while it was read.", Patience.LONG)
    if code in ("404", "NoSuchKey") or status == 404:
        return Fault("there is no such file or folder.", Patience.NONE)
    return Fault(f"the S3 server answers {code or status}.", Patience.NONE)


def _before_the_answer(error: boto.BotoCoreError) -> Fault:
    """The meaning of an error that the S3 client raised itself."""
    if isinstance(error, boto.ParamValidationError):
        return _bad_name()
    if isinstance(error, boto.ProfileNotFound):
        sentence = "AWS_PROFILE names credentials that are not there; set it to a profile that every node has."
        return Fault(sentence, Patience.NONE)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        sentence = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE on every node."
        return Fault(f"no S3 credentials were found; {sentence}", Patience.NONE)
    if isinstance(error, _DISCONNECTED):
        return Fault("the server does not answer; check AWS_ENDPOINT_URL and the network.", Patience.LONG)
    return Fault(f"{type(error).__name__}.", Patience.LONG)


def _bad_name() -> Fault:
    return Fault("S3 allows no bucket of this name; use small letters, digits, dots and hyphens.", Patience.NONE)
