"""RunStore: one run's folder, on a local disk or on S3. The only file that writes a run.

    RUN/run.json                      what was asked, what has finished
    RUN/networks/NET/...              weights, description, metrics
    RUN/statistics/...                reduced arrays; partials/ while the pass runs
    RUN/tables/NAME/...parquet        what people read: pandas.read_parquet(RUN + "/tables/NAME")
    RUN/figures/...

A file becomes visible whole or not at all: locally it is written under a temporary name and renamed, on S3 an object
appears when its upload completes. Every write replaces what stood under the same name, so a stage can be run again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import botocore.exceptions
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raycv.errors import UserError

T = TypeVar("T")
RETRIES = 6
FIRST_WAIT = 0.5  # seconds; doubled after each try


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and path behind a local path or an ``s3://bucket/prefix``.

    Credentials and endpoint of S3 are the standard ones (AWS_ACCESS_KEY_ID ..., AWS_PROFILE, AWS_ENDPOINT_URL).
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(uri))
    if scheme == "s3" and rest.strip("/"):
        if not (os.environ.get("AWS_ENDPOINT_URL") or "http://").startswith(("http://", "https://")):
            raise UserError(f"Cannot use {uri}: AWS_ENDPOINT_URL is not a URL such as https://s3.example.com.")
        # Listings are never cached: another process of the same run may just have written a file.
        # RunStore retries by itself, so the client gives up soon.
        patience = {"retries": {"max_attempts": 1}, "connect_timeout": 5}
        return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=patience), rest.strip("/")
    raise UserError(f"Cannot use {uri!r}: expected a local path or s3://bucket/prefix.")


@contextlib.contextmanager
def reaching(uri: str, operation: str) -> Iterator[None]:
    """Turn what a file system raises into one sentence that names the URI and the operation."""
    try:
        yield
    except UserError:
        raise
    except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise UserError(f"Could not {operation} {uri}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What a person can do about ``error``. Never quotes a message that could hold a signed request."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    text = " ".join(f"{type(e).__name__} {e}" for e in chain)
    if "NoSuchBucket" in text or "bucket does not exist" in text:
        return "the bucket does not exist; create it or name another."
    if "ParamValidation" in text:
        return "S3 allows no bucket of this name; use small letters, digits, dots and hyphens."
    if "ProfileNotFound" in text:
        return "AWS_PROFILE names credentials that are not there; set it to a profile that every node has."
    if "NoCredentials" in text or "Unable to locate credentials" in text or "PartialCredentials" in text:
        return (
            "no S3 credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE "
            "on every node."
        )
    refused = (
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AccessDenied",
        "Forbidden",
        "403",
        "ExpiredToken",
    )
    if any(word in text for word in refused):
        return "the S3 server refused the credentials; check the key, its permissions and the bucket's name."
    unreachable = (
        "EndpointConnection",
        "ConnectTimeout",
        "ClientConnector",
        "Connection refused",
        "ReadTimeout",
        "TimeoutError",
    )
    if any(word in text for word in unreachable):
        return "the server does not answer; check AWS_ENDPOINT_URL and the network."
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder."
    if isinstance(error, PermissionError):
        return "permission was denied."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"{type(error).__name__}."


def _is_passing(error: BaseException, reached: bool) -> bool:
    """Whether trying again may help: not for a file that is not there, nor for what will be refused again.

    A store that has answered before (``reached``) and refuses now may be starting up again.
    """
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    reason = _reason(error)
    return reached or not ("credentials" in reason or "bucket" in reason)


def parquet(rows: pa.Table) -> bytes:
    """The bytes of a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()


class RunStore:
    """One run's folder. Cheap to make and picklable, so that every Ray process can hold its own."""

    def __init__(self, uri: str) -> None:
        filesystem(uri)
        self._reached = False  # whether the store has ever answered, so that a refusal may be one that passes
        self.uri = uri.rstrip("/") if "://" in uri else os.path.abspath(os.path.expanduser(uri))

    # -- files ---------------------------------------------------------------------------------------------------

    def locate(self, path: str) -> str:
        """The full URI of a file of the run, as a person or pandas would name it."""
        return f"{self.uri}/{path}" if path else self.uri

    def _try(self, operation: str, path: str, action: Callable[[fsspec.AbstractFileSystem, str], T]) -> T:
        fs, root = filesystem(self.uri)
        wait = FIRST_WAIT
        with reaching(self.locate(path), operation):
            for attempt in range(RETRIES):
                try:
                    result = action(fs, f"{root}/{path}" if path else root)
                    self._reached = True
                    return result
                except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                    if attempt == RETRIES - 1 or not _is_passing(error, self._reached):
                        raise
                    time.sleep(wait)
                    wait *= 2
        raise AssertionError("unreachable")

    def write(self, path: str, content: bytes) -> str:
        """Write one file whole; returns its URI."""

        def put(fs: fsspec.AbstractFileSystem, full: str) -> None:
            if fs.protocol == "s3" or "s3" in fs.protocol:
                fs.pipe_file(full, content)
                return
            os.makedirs(os.path.dirname(full), exist_ok=True)
            temporary = os.path.join(os.path.dirname(full), f".{uuid.uuid4().hex}.part")
            try:
                with open(temporary, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, full)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(temporary)

        self._try("write", path, put)
        return self.locate(path)

    def read(self, path: str) -> bytes:
        """The content of one file. Raises UserError where it is not there."""
        content: bytes = self._try("read", path, lambda fs, full: fs.cat_file(full))
        return content

    def exists(self, path: str) -> bool:
        """Whether a file (or, locally, a folder) of the run is there."""
        return bool(self._try("look for", path, lambda fs, full: fs.exists(full)))

    def list(self, folder: str) -> list[str]:
        """The files below ``folder``, as paths inside the run, sorted; empty where there is no such folder."""

        def find(fs: fsspec.AbstractFileSystem, full: str) -> list[str]:
            # Other writers leave empty objects, named with a slash at the end, that stand for folders.
            names = [name for name in fs.find(full) if not name.endswith(("/", ".part"))]
            return sorted(f"{folder}{name[len(full) :]}".lstrip("/") for name in names)

        return self._try("list", folder, find)

    def remove(self, folder: str) -> None:
        """Remove a folder with all below it, or one file; nothing happens where there is none."""

        def drop(fs: fsspec.AbstractFileSystem, full: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                fs.rm(full, recursive=True)

        self._try("remove", folder, drop)

    def read_json(self, path: str) -> dict[str, Any]:
        """One JSON object."""
        content: dict[str, Any] = json.loads(self.read(path))
        return content

    def write_json(self, path: str, content: Mapping[str, Any]) -> str:
        """Write one JSON object; returns its URI."""
        return self.write(path, json.dumps(content, indent=2, sort_keys=False).encode() + b"\n")

    def read_arrays(self, path: str) -> dict[str, np.ndarray]:
        """Named arrays written by ``write_arrays``."""
        with np.load(io.BytesIO(self.read(path)), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    @contextlib.contextmanager
    def open_arrays(self, path: str) -> Iterator[Mapping[str, np.ndarray]]:
        """Named arrays of a file, each read when it is asked for."""
        fs, root = filesystem(self.uri)
        with (
            reaching(self.locate(path), "read"),
            fs.open(f"{root}/{path}", "rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            yield arrays

    def write_arrays(self, path: str, arrays: Mapping[str, np.ndarray]) -> str:
        """Write named arrays as one uncompressed ``.npz``; returns its URI."""
        buffer = io.BytesIO()
        np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
        return self.write(path, buffer.getvalue())

    # -- tables --------------------------------------------------------------------------------------------------

    def write_table(self, name: str, parts: Iterable[tuple[str, pa.Table]]) -> str:
        """Replace table ``name`` by ``parts``, pairs of (file such as "layer=conv1/net1-net2", rows).

        Each part is one file that appears whole; parts of an earlier run that are no longer written are removed
        last. Returns the table's URI.
        """
        written = set()
        for file, rows in parts:
            path = f"tables/{name}/{file}.parquet"
            self.write(path, parquet(rows))
            written.add(path)
        for path in self.list(f"tables/{name}"):
            if path not in written:
                self.remove(path)
        return self.locate(f"tables/{name}")

    def read_table(self, name: str, **options: Any) -> pd.DataFrame:
        """Table ``name`` as pandas reads it. Raises UserError where the run does not have it yet."""
        if not self.list(f"tables/{name}"):
            raise UserError(
                f"The run {self.uri} has no table {name!r} yet; run the stage that writes it "
                "(`raycv tables` lists which)."
            )
        return pd.read_parquet(self.locate(f"tables/{name}"), **options)
