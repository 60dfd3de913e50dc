"""Azure Blob Storage, by adlfs: ``az://container/prefix`` of the account that the environment names."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import fsspec
from adlfs import AzureBlobFileSystem
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob.aio import BlobClient, BlobServiceClient
from fsspec.asyn import sync

from raycv.errors import UserError
from raycv.run.clouds import CONNECT, READ, NotAsExpected
from raycv.run.faults import Fault, RetryPolicy, chain

CONNECTION, ACCOUNT = "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"
REMEDY = f"set {ACCOUNT} and AZURE_STORAGE_ACCOUNT_KEY, or {CONNECTION}, on every node, or sign in by `az login`"
ONCE: dict[str, Any] = {"retry_total": 0, "connection_timeout": CONNECT, "read_timeout": READ}


class _AzureOnce(AzureBlobFileSystem):  # type: ignore[misc]
    """A client that tries once; adlfs's own waits fifteen seconds before it tries again."""

    def do_connect(self) -> None:
        """Make the client of Azure's library."""
        if self.connection_string:
            made = BlobServiceClient.from_connection_string(self.connection_string, **ONCE)
        else:
            url = f"https://{self.account_name}.blob.core.windows.net"
            made = BlobServiceClient(url, self.account_key or self.sas_token or self.credential, **ONCE)
        self.service_client = made


class Azure:
    """See `raycv.run.clouds.Cloud`. A file's tag is its ETag."""

    name = "Azure Blob Storage"

    def __init__(self) -> None:
        logging.getLogger("azure").setLevel(logging.CRITICAL)

    def filesystem(self) -> fsspec.AbstractFileSystem:
        """Its client, with the credentials in the environment. Raises UserError where no account is named."""
        if not os.environ.get(CONNECTION) and not os.environ.get(ACCOUNT):
            raise UserError(f"az:// needs an account of Azure; {REMEDY}.")
        try:
            return _AzureOnce(anon=False, use_listings_cache=False)
        except ValueError:
            raise UserError(f"{CONNECTION} is no connection string of Azure; {REMEDY}.") from None

    def knock(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        """Ask for a file that need not be there: who may read files need not be allowed to look at containers."""
        with contextlib.suppress(FileNotFoundError):
            self._facts(fs, f"{path.partition('/')[0]}/run.json")

    def read(self, fs: fsspec.AbstractFileSystem, path: str) -> bytes:
        """A file as it is at one moment: Azure's library asks for all parts of what it has begun to read."""

        async def whole(blob: BlobClient) -> bytes:
            content: bytes = await (await blob.download_blob()).readall()
            return content

        found: bytes = _ask(fs, path, whole)
        return found

    def tag(self, fs: fsspec.AbstractFileSystem, path: str) -> str:
        """The ETag of a file. Raises FileNotFoundError."""
        return str(self._facts(fs, path).etag)

    def _facts(self, fs: fsspec.AbstractFileSystem, path: str) -> Any:
        return _ask(fs, path, lambda blob: blob.get_blob_properties())

    def put(self, fs: fsspec.AbstractFileSystem, path: str, content: bytes, tag: str | None) -> None:
        """Write a file if it still has ``tag``; without one, if it is not there. Raises NotAsExpected."""
        same: dict[str, Any] = {"etag": tag, "match_condition": MatchConditions.IfNotModified} if tag else {}
        try:
            _ask(fs, path, lambda blob: blob.upload_blob(content, overwrite=tag is not None, **same))
        except (ResourceExistsError, ResourceModifiedError):
            raise NotAsExpected from None

    def copy(self, fs: fsspec.AbstractFileSystem, source: str, target: str) -> None:
        """Copy a file inside the store. Azure may go on copying after it has answered."""
        fs.cp_file(source, target)
        while self._facts(fs, target).copy.status == "pending":
            time.sleep(0.2)

    def written(self, fs: fsspec.AbstractFileSystem, path: str) -> datetime:
        """When a file was written, by the clock of the store, in whole seconds."""
        found: datetime = self._facts(fs, path).last_modified
        return found

    def errors(self) -> tuple[type[BaseException], ...]:
        """What adlfs raises beside OSError."""
        return (AzureError,)

    def fault(self, error: BaseException) -> Fault | None:
        """What an exception of adlfs means."""
        for link in chain(error):
            if isinstance(link, HttpResponseError) and link.status_code:
                return _answer(link.status_code, _code(link))
            if isinstance(link, ClientAuthenticationError):
                return Fault(f"no credentials of Azure were found; {REMEDY}.", RetryPolicy.NONE)
            if isinstance(link, ServiceRequestError | ServiceResponseError | ConnectionError | TimeoutError):
                sentence = f"the server does not answer; check {CONNECTION} or {ACCOUNT}, and the network."
                return Fault(sentence, RetryPolicy.LONG)
        return None


def _ask(fs: fsspec.AbstractFileSystem, path: str, request: Callable[[BlobClient], Awaitable[Any]]) -> Any:
    """What Azure answers to a request of a file. Raises FileNotFoundError."""
    container, _, key = path.partition("/")

    async def asked() -> Any:
        async with fs.service_client.get_blob_client(container, key) as blob:
            return await request(blob)

    try:
        return sync(fs.loop, asked)
    except HttpResponseError as error:
        if error.status_code == 404 and _code(error) != "ContainerNotFound":
            raise FileNotFoundError(path) from error
        raise


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", "")
    return str(getattr(code, "value", code) or "")


def _answer(status: int, code: str) -> Fault:
    if status == 404:
        if code == "ContainerNotFound":
            return Fault("the container does not exist; create it or name another.", RetryPolicy.NONE)
        return Fault("there is no such file or folder.", RetryPolicy.NONE)
    if status in (401, 403):
        sentence = "Azure refused the credentials; check account, key, permissions and the container's name."
        return Fault(sentence, RetryPolicy.MEDIUM)
    if status == 412:
        return Fault("the file was replaced while it was read.", RetryPolicy.LONG)
    if status >= 500 or status in (408, 429):
        return Fault(f"Azure Blob Storage is failing ({status}).", RetryPolicy.LONG)
    if status == 400:
        return Fault("Azure Blob Storage refuses the request; check the container's name.", RetryPolicy.NONE)
    return Fault(f"Azure Blob Storage answers {status}.", RetryPolicy.NONE)
