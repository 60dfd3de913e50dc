"""Data sets on the Hugging Face Hub, ``hf://datasets/OWNER/NAME/folder``, whose images are read; nothing is written."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, NoReturn

import fsspec
from huggingface_hub import HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

from raycv.errors import UserError
from raycv.run.faults import Fault, RetryPolicy, chain

# The HTTP library's own error, which the Hub's are kinds of: of httpx or httpx2, as the version has it.
HTTP_ERROR: type[Exception] = next(kind for kind in HfHubHTTPError.mro() if kind.__name__ == "HTTPError")


class Hub:
    """See `raycv.run.clouds.Cloud`. Nothing is written, so nothing can be written conditionally."""

    name = "the Hugging Face Hub"

    def __init__(self) -> None:
        logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it prints whatever it tries again

    def filesystem(self) -> fsspec.AbstractFileSystem:
        """Its client, with the token of `hf auth login` or HF_TOKEN."""
        return HfFileSystem()

    def knock(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        """Ask for the revisions of a data set; one that is not there is found out by what comes next."""
        fs.exists("/".join(path.split("/")[:3]))

    def read(self, fs: fsspec.AbstractFileSystem, path: str) -> bytes:
        """A file, of one commit."""
        content: bytes = fs.cat_file(path)
        return content

    def tag(self, fs: fsspec.AbstractFileSystem, path: str) -> Any:
        """Refused."""
        _refuse(path)

    def put(self, fs: fsspec.AbstractFileSystem, path: str, content: bytes, tag: Any | None) -> None:
        """Refused."""
        _refuse(path)

    def copy(self, fs: fsspec.AbstractFileSystem, source: str, target: str) -> None:
        """Refused."""
        _refuse(target)

    def written(self, fs: fsspec.AbstractFileSystem, path: str) -> datetime:
        """Refused."""
        _refuse(path)

    def errors(self) -> tuple[type[BaseException], ...]:
        """What the Hub's library raises beside OSError."""
        return (HTTP_ERROR,)

    def fault(self, error: BaseException) -> Fault | None:
        """What an exception of the Hub's library means."""
        for link in chain(error):
            if isinstance(link, HfHubHTTPError):
                return _answer(int(getattr(link.response, "status_code", 0)))
            if isinstance(link, (HTTP_ERROR, ConnectionError, TimeoutError)):
                return Fault("the server does not answer; check HF_ENDPOINT and the network.", RetryPolicy.LONG)
        return None


def _refuse(path: str) -> NoReturn:
    raise UserError(f"Cannot write hf://{path}: the Hub is only read, as images; name a folder or a bucket.")


def _answer(status: int) -> Fault:
    if status in (401, 403, 404):
        sentence = "there is no such data set, or it is not yours to read; look at its name, or run `hf auth login`."
        return Fault(sentence, RetryPolicy.NONE)
    if status >= 500 or status in (408, 429):
        return Fault(f"the Hub is failing ({status}).", RetryPolicy.LONG)
    return Fault(f"the Hub answers {status}.", RetryPolicy.NONE)
