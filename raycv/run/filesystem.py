"""Access to files on a local disk or on S3: how long to retry, what to tell the user."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raycv import telemetry
from raycv.errors import UserError
from raycv.progress import say
from raycv.run.clouds import CONNECT, READ, cloud_behind, cloud_of, loaded
from raycv.run.faults import Fault, NotS3, RetryPolicy, fault_of, is_an_answer, says_nothing
from raycv.run.faults import errors as errors_of_s3

T = TypeVar("T")
LONGEST = 45.0  # seconds after which nothing is tried once more: longer than `RetryPolicy.LONG`
LONGEST_AGAIN = 5.0  # the same of a store that was given up
SLOWEST = 10_000  # bytes in a second, below which a server that sends a file is given up
TOLD_AFTER = 5.0  # seconds after which a person is told what is waited for
READING = "read"
SMALL = ("look for", "look at", "create", "replace")  # what is answered in a few bytes
CLIENT = ("botocore", "aiobotocore", "s3fs", "gcsfs", "adlfs")
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

_answered: set[str] = set()  # stores that have answered this process or one that sent it work
_given_up: set[str] = set()  # stores that have not answered for so long
_told: dict[str, float] = {}  # when a person was told that a store is waited for


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and path behind a local path, ``s3://bucket/prefix``, or a place in another store (`run.clouds`).

    Credentials and endpoint of S3 are the standard ones (AWS_ACCESS_KEY_ID ..., AWS_PROFILE, AWS_ENDPOINT_URL).
    """
    if "\0" in uri:
        raise UserError(f"Cannot use {uri!r}: no name of a file or folder holds a null character.")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(uri))
    if scheme == "s3" and rest.strip("/"):
        _check_endpoints(uri)
        # Listings are never cached: another process of the same run may just have written a file.
        # `with_retries` tries again by itself, and sooner than the client would.
        limits = {"retries": {"max_attempts": 0}, "connect_timeout": CONNECT, "read_timeout": READ}
        return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=limits), rest.strip("/")
    cloud = cloud_of(uri)
    if cloud is not None and rest.strip("/"):
        return cloud.filesystem(), rest.strip("/")
    raise UserError(
        f"Cannot use {uri!r}: expected a local path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix."
    )


def errors() -> tuple[type[BaseException], ...]:
    """All exceptions that the file systems behind fsspec raise when a file cannot be reached."""
    return (*errors_of_s3(), *loaded())


def _fault_at(uri: str, error: BaseException) -> Fault:
    """What an exception means that the store behind ``uri`` has led to."""
    cloud = cloud_of(uri)
    return (cloud.fault(error) if cloud else None) or fault_of(error)


def _check_endpoints(uri: str) -> None:
    """Raise UserError for an address of a server that is none."""
    for name in ENDPOINTS:
        address = os.environ.get(name)
        try:
            parts = urlsplit(address or "http://none")
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # as of a port that is no number
            right = False
        if not right or any(letter.isspace() for letter in address or ""):
            raise UserError(
                f"Cannot use {uri}: {name} is not a URL such as https://s3.example.com or http://127.0.0.1:9000."
            )


def with_retries(uri: str, operation: str, action: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
    """Call ``action(file system, path)`` for ``uri`` and retry while the failure may pass.

    Retries for about forty seconds if the store has answered before, for half of that if it refuses the credentials,
    otherwise for a few seconds; a server that does not answer at all is given up within a minute, and one that sends a
    file by drips after as long and what the file takes at 10 kB/s. Tells the user what it waits for. If it gives up,
    raises UserError with ``uri`` and ``operation``.
    """
    fs, path = filesystem(uri)
    tries: Counter[RetryPolicy] = Counter()  # a server may refuse once it is back from an outage
    longest, began = LONGEST_AGAIN if _store_of(uri) in _given_up else LONGEST, time.monotonic()
    with _named(uri, operation):
        while True:
            tried = time.monotonic()
            try:
                _make_ready(fs, uri)
                with _understood():
                    if "://" in uri and not is_known_reachable(uri):
                        _in_time([longest], lambda: _knock(fs, path))
                    result = _in_time(_allowed(fs, path, uri, operation, longest), lambda: action(fs, path))
            except errors() as error:
                fault = _fault_at(uri, _told_in_full(fs, path, error))
                hopeful = is_known_reachable(uri) or fault.retries is RetryPolicy.NONE
                retries = fault.retries if hopeful else RetryPolicy.BRIEF
                waits, now = retries.waits[tries[retries] :], time.monotonic()
                # The next try may take as long as this one has.
                if not waits or now - began + waits[0] + now - tried > longest:
                    if fault.retries is not RetryPolicy.NONE:
                        mark_unreachable(uri)
                    raise UserError(f"Could not {operation} {uri}: {fault.sentence}") from error
                _wait(waits[0], f"Could not {operation} {uri} yet: {fault.sentence}")
                tries[retries] += 1
                telemetry.count("raycv_retries", operation=operation)
            else:
                mark_reachable(uri)
                return result


def _in_time(limits: Iterable[float], action: Callable[[], T]) -> T:
    """What ``action`` returns. Raises TimeoutError after all ``limits``, seconds in which a server may send something.

    Without limits it may take for ever. What is under way then goes on in a thread that nobody waits for.
    """
    limits = iter(limits)
    limit = next(limits, None)
    if limit is None:
        return action()
    found: Future[T] = Future()

    def act() -> None:
        try:
            found.set_result(action())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=act, daemon=True).start()
    while True:
        try:
            return found.result(limit)
        except TimeoutError:
            limit = None if found.done() else next(limits, None)
            if limit is None:
                return found.result(0)


def _allowed(fs: fsspec.AbstractFileSystem, path: str, uri: str, operation: str, longest: float) -> Iterator[float]:
    """The seconds that an operation may take; of a file that is read, more if it is large, once that is to be known."""
    if "://" not in uri or operation not in (*SMALL, READING):
        return
    yield longest
    if operation == READING:
        with contextlib.suppress(*errors()):
            about = _in_time([longest], lambda: fs.info(path))
            yield about["size"] / SLOWEST if about["type"] == "file" else threading.TIMEOUT_MAX


def _knock(fs: fsspec.AbstractFileSystem, path: str) -> None:
    """Whether anybody answers at all, before what may take long is asked for; what is answered makes no difference."""
    cloud = cloud_behind(fs)
    if cloud is not None:
        cloud.knock(fs, path)
        return
    try:
        fs.call_s3("head_bucket", Bucket=fs.split_path(path)[0])
    except errors() as error:
        if not is_an_answer(error):
            raise


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """Raise NotS3 where the S3 client fails on what was answered, as on a date that is none."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        if not any(f"{os.sep}{name}{os.sep}" in last for name in CLIENT):
            raise
        raise NotS3 from error


def _wait(seconds: float, why: str) -> None:
    if seconds >= 4:
        say(f"{why} Trying again in {seconds:g} s.")
    time.sleep(seconds)


@contextlib.contextmanager
def _named(uri: str, operation: str) -> Iterator[None]:
    """Tell a person what is waited for, once it takes longer than ``TOLD_AFTER``; of many at a time, of one."""
    if "://" not in uri:
        yield
        return

    def tell() -> None:
        store, now = _store_of(uri), time.monotonic()
        if now - _told.get(store, -TOLD_AFTER) >= TOLD_AFTER:
            _told[store] = now
            cloud = cloud_of(uri)
            server = cloud.name if cloud else "the S3 server"
            say(f"waiting for {server}: to {operation} {uri} has taken {TOLD_AFTER:g} s so far")

    timer = threading.Timer(TOLD_AFTER, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _make_ready(fs: fsspec.AbstractFileSystem, uri: str) -> None:
    """Let the S3 client try once (`with_retries` tries again) and look at who answers."""
    if isinstance(fs, LocalFileSystem) or cloud_behind(fs) is not None:
        return
    fs.retries = 1
    try:
        fs.s3.meta.events.register("after-call.s3", _check_it_is_s3, unique_id="raycv")
    except ValueError:  # of an address in a file of settings
        raise UserError(
            f"Cannot use {uri}: AWS_ENDPOINT_URL, or endpoint_url in the settings of AWS, is not a URL such as "
            "https://s3.example.com."
        ) from None


def _check_it_is_s3(parsed: dict[str, Any], model: Any, **_more: Any) -> None:
    """Raise NotS3 for an answer that is no answer of S3, though it says that all is well."""
    answer = parsed.get("ResponseMetadata", {})
    headers = {name.lower(): value for name, value in answer.get("HTTPHeaders", {}).items()}
    if answer.get("HTTPStatusCode", 0) >= 300 or any(name.startswith("x-amz-") for name in headers):
        return
    of_object = model.name in ("GetObject", "HeadObject")
    if headers.get("content-type", "").startswith("text/html") or (of_object and "etag" not in headers):
        raise NotS3


def _told_in_full(fs: fsspec.AbstractFileSystem, path: str, error: BaseException) -> BaseException:
    """``error``, or what S3 answers to a GET: its answer to HEAD has a number but no reason."""
    if says_nothing(error):
        bucket, key, _ = fs.split_path(path)
        try:
            fs.call_s3("get_object", Bucket=bucket, Key=key or "run.json", Range="bytes=0-0")
        except errors() as told:
            return error if says_nothing(told) else told
    return error


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
        raise UserError(f"Could not {operation} {uri}: {_fault_at(uri, error).sentence}") from error


def mark_reachable(uri: str) -> None:
    """Note that the store behind ``uri`` has answered, so that later failures count as temporary."""
    _answered.add(_store_of(uri))
    _given_up.discard(_store_of(uri))


def mark_unreachable(uri: str) -> None:
    """Give the store behind ``uri`` only a few seconds from now on, until it answers again."""
    _answered.discard(_store_of(uri))
    _given_up.add(_store_of(uri))


def is_known_reachable(uri: str) -> bool:
    """Whether the store behind ``uri`` is known to work."""
    return _store_of(uri) in _answered


def _store_of(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}://{rest.split('/')[0]}" if separator else "disk"
