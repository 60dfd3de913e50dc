"""Google Cloud Storage, by gcsfs and the JSON interface: ``gs://bucket/prefix``."""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime
from typing import Any

import fsspec
from aiohttp import ClientError, ClientTimeout
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from google.auth.exceptions import GoogleAuthError, RefreshError

from raycv.run.clouds import CONNECT, READ, NoSuchBucket, NotAsExpected
from raycv.run.faults import Fault, RetryPolicy, chain

EMULATOR = "STORAGE_EMULATOR_HOST"
REMEDY = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS on every node"


class _GoogleOnce(GCSFileSystem):  # type: ignore[misc]
    """A client that tries once, as `raycv.run.filesystem.with_retries` tries again, and sooner.

    Not of the class that gcsfs gives by default: that one first asks by gRPC of which kind a bucket is, for a minute
    where nobody answers that, as no emulator does.
    """

    _request = GCSFileSystem._request.__wrapped__


class Google:
    """See `raycv.run.clouds.Cloud`. A file's tag is the number of its generation."""

    name = "Google Cloud Storage"

    def __init__(self) -> None:
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints tracebacks of what is tried again

    def filesystem(self) -> fsspec.AbstractFileSystem:
        """Its client, with application default credentials; without any for an emulator."""
        return _GoogleOnce(
            token="anon" if os.environ.get(EMULATOR) else None,
            use_listings_cache=False,
            requests_timeout=ClientTimeout(total=None, connect=CONNECT, sock_connect=CONNECT, sock_read=READ),
        )

    def knock(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        """Ask for a list of one file, which who may read files need not be allowed. Raises NoSuchBucket."""
        try:
            fs.call("GET", "b/{}/o", path.partition("/")[0], maxResults=1)
        except FileNotFoundError:
            raise NoSuchBucket from None
        except (HttpError, OSError) as error:
            if _status(error) not in (401, 403):
                raise

    def read(self, fs: fsspec.AbstractFileSystem, path: str) -> bytes:
        """A file as it is at one moment, by one request."""
        bucket, _, key = path.partition("/")
        content: bytes = fs.call("GET", "b/{}/o/{}", bucket, key, alt="media")[1]
        return content

    def tag(self, fs: fsspec.AbstractFileSystem, path: str) -> str:
        """The generation of a file. Raises FileNotFoundError."""
        return str(self._facts(fs, path)["generation"])

    def _facts(self, fs: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
        bucket, _, key = path.partition("/")
        found: dict[str, Any] = fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        return found

    def put(self, fs: fsspec.AbstractFileSystem, path: str, content: bytes, tag: str | None) -> None:
        """Write a file if it still has ``tag``; without one, if it is not there. Raises NotAsExpected."""
        bucket, _, key = path.partition("/")
        parts = (("application/json", json.dumps({"name": key}).encode()), ("application/octet-stream", content))
        body = b"".join(b"--raycv\r\nContent-Type: %b\r\n\r\n%b\r\n" % (kind.encode(), part) for kind, part in parts)
        try:
            fs.call(
                "POST",
                f"{fs._location}/upload/storage/v1/b/{bucket}/o",
                uploadType="multipart",
                ifGenerationMatch=tag or "0",
                headers={"Content-Type": "multipart/related; boundary=raycv"},
                data=body + b"--raycv--",
            )
        except FileExistsError:  # as gcsfs calls 412
            raise NotAsExpected from None

    def copy(self, fs: fsspec.AbstractFileSystem, source: str, target: str) -> None:
        """Copy a file inside the store."""
        fs.cp_file(source, target)

    def written(self, fs: fsspec.AbstractFileSystem, path: str) -> datetime:
        """When a file was written, by the clock of the store."""
        return datetime.fromisoformat(str(self._facts(fs, path)["timeCreated"]))

    def errors(self) -> tuple[type[BaseException], ...]:
        """What gcsfs raises beside OSError, to which belong the errors of requests."""
        return (HttpError, GoogleAuthError, ClientError)

    def fault(self, error: BaseException) -> Fault | None:
        """What an exception of gcsfs means."""
        for link in chain(error):
            if isinstance(link, NoSuchBucket):
                return Fault("the bucket does not exist; create it or name another.", RetryPolicy.NONE)
            if _status(link):
                return _answer(_status(link))
            if isinstance(link, RefreshError):
                return Fault("the credentials have expired or are refused; sign in to Google again.", RetryPolicy.BRIEF)
            if isinstance(link, GoogleAuthError):
                return Fault(f"no Google credentials were found; {REMEDY}.", RetryPolicy.NONE)
            if isinstance(link, ClientError | ConnectionError | TimeoutError):
                return Fault(f"the server does not answer; check {EMULATOR} and the network.", RetryPolicy.LONG)
            if isinstance(link, ValueError):
                return Fault("Google Cloud Storage refuses the request; check the bucket's name.", RetryPolicy.NONE)
        return None


def _status(error: BaseException) -> int:
    """The status of an answer; 0 of what is none."""
    if isinstance(error, HttpError):
        return int(error.code or 0)
    return 403 if isinstance(error, OSError) and str(error).startswith("Forbidden") else 0  # as gcsfs says it


def _answer(status: int) -> Fault:
    if status in (401, 403):
        sentence = "Google refused the credentials; check them, their permissions and the bucket's name."
        return Fault(sentence, RetryPolicy.MEDIUM)
    if status >= 500 or status in (408, 429):
        return Fault(f"Google Cloud Storage is failing ({status}).", RetryPolicy.LONG)
    return Fault(f"Google Cloud Storage answers {status}.", RetryPolicy.NONE)
