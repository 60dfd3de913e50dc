"""What the failure of a file system means: one sentence for a person, and whether it may pass."""

from __future__ import annotations

import errno
import ssl
import sys
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPException

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError


class RetryPolicy(Enum):
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
    RetryPolicy.NONE: (),
    RetryPolicy.BRIEF: (0.1, 0.2, 0.4, 0.8, 1.5),
    RetryPolicy.MEDIUM: (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 8.0),
    RetryPolicy.LONG: (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 9.0, 9.0, 9.0),
}


@dataclass(frozen=True)
class Fault:
    """What an exception means: one sentence for a person, and whether it may pass."""

    sentence: str
    retries: RetryPolicy


class NotS3(OSError):
    """The answer is not from an S3 server: a sign-in page, a proxy, another program."""


def errors() -> tuple[type[BaseException], ...]:
    """All exceptions that the file systems behind fsspec raise when a file cannot be reached."""
    return (OSError, boto.BotoCoreError, boto.ClientError, ResponseParserError, *_DISCONNECTED, *_of_aiohttp())


def _of_aiohttp() -> tuple[type[BaseException], ...]:
    """The errors of the S3 client's HTTP library, which is loaded only once S3 is used."""
    loaded = sys.modules.get("aiohttp")
    return (loaded.ClientError,) if loaded else ()


_BAD_NAMES = {"InvalidBucketName", "InvalidBucketNameException"}
_REFUSALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403", "401"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "RequestExpired", "TokenRefreshRequired"}
_BUSY = {"SlowDown", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "InternalError", "Throttling"}
_DISCONNECTED = (
    boto.HTTPClientError,
    boto.ConnectionError,
    HTTPException,
    ConnectionError,
    TimeoutError,
)
_SIGNED_OUT = (boto.SSOError, boto.TokenRetrievalError, boto.CredentialRetrievalError)
_PASSING_ON_DISK = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EBUSY}


def fault_of(error: BaseException) -> Fault:
    """What ``error`` means. Its sentence never quotes a message, which could hold a signed request."""
    links = chain(error)
    wrong = _of_another_server(links)
    if wrong is not None:
        return wrong
    for link in links:
        if isinstance(link, boto.ClientError):
            return _answer(link)
    for link in links:
        if isinstance(link, boto.BotoCoreError):
            return _before_the_answer(link)
    if any(isinstance(link, (*_DISCONNECTED, *_of_aiohttp())) for link in links):
        return Fault("the server does not answer; check AWS_ENDPOINT_URL and the network.", RetryPolicy.LONG)
    if isinstance(error, FileNotFoundError):
        return Fault("there is no such file or folder.", RetryPolicy.NONE)
    if isinstance(error, PermissionError):
        return Fault("permission was denied.", RetryPolicy.NONE)
    if isinstance(error, OSError) and error.strerror:
        passing = error.errno in _PASSING_ON_DISK
        return Fault(f"{error.strerror}.", RetryPolicy.LONG if passing else RetryPolicy.NONE)
    return Fault(f"{type(error).__name__}.", RetryPolicy.LONG)


def chain(error: BaseException) -> list[BaseException]:
    """An exception with those that led to it."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


def _of_another_server(links: list[BaseException]) -> Fault | None:
    """The meaning of an answer that no S3 server gives."""
    kinds = {type(link).__name__ for link in links}  # also of a library that is loaded with S3 only
    if any(isinstance(link, NotS3 | ResponseParserError) for link in links):
        sentence = "the answer is not from an S3 server but perhaps from a sign-in page; check AWS_ENDPOINT_URL."
        return Fault(sentence, RetryPolicy.NONE)
    if "TooManyRedirects" in kinds:
        return Fault("the server redirects in an endless loop; check AWS_ENDPOINT_URL.", RetryPolicy.NONE)
    if not kinds.isdisjoint({"BadStatusLine", "BadHttpMessage"}):
        return Fault("the server there does not speak HTTP; check AWS_ENDPOINT_URL.", RetryPolicy.LONG)
    if any(isinstance(link, ssl.SSLError) for link in links):
        sentence = "the encrypted connection failed; check the certificate, and https in AWS_ENDPOINT_URL."
        return Fault(sentence, RetryPolicy.BRIEF)
    return None


def is_an_answer(error: BaseException) -> bool:
    """Whether an S3 server has said this, whatever it says."""
    return any(isinstance(link, boto.ClientError) for link in chain(error))


def says_nothing(error: BaseException) -> bool:
    """Whether this is a refusal of an S3 server that has a number but no reason, as there is none without a body."""
    answers = [link for link in chain(error) if isinstance(link, boto.ClientError)]
    return bool(answers) and _code_of(answers[0])[0] in ("301", "400", "403")


def _code_of(error: boto.ClientError) -> tuple[str, int]:
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code, int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answer(error: boto.ClientError) -> Fault:
    """The meaning of an error that the S3 server answered with."""
    code, status = _code_of(error)
    if code == "NoSuchBucket":
        return Fault("the bucket does not exist; create it or name another.", RetryPolicy.NONE)
    if code in _BAD_NAMES:
        return _bad_name()
    if code in _EXPIRED:
        sentence = "the credentials have expired; sign in again, or set new ones with their AWS_SESSION_TOKEN."
        return Fault(sentence, RetryPolicy.BRIEF)
    if code == "RequestTimeTooSkewed":
        return Fault("the clocks of this machine and of the S3 server differ too much; set this one.", RetryPolicy.NONE)
    if 300 <= status < 400:
        region = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        remedy = f"it is in {region}, so set AWS_DEFAULT_REGION={region}" if region else "check AWS_ENDPOINT_URL"
        return Fault(
            f"the S3 server does not have this bucket but names another ({status}); {remedy}.", RetryPolicy.NONE
        )
    if code in _REFUSALS or status in (401, 403):
        sentence = "the S3 server refused the credentials; check the key, its permissions and the bucket's name."
        return Fault(sentence, RetryPolicy.MEDIUM)
    if code in _BUSY or status >= 500 or status == 429:
        return Fault(f"the S3 server is failing ({code or status}).", RetryPolicy.LONG)
    if code == "PreconditionFailed" or status == 412:
        return Fault("the file was replaced while it was read.", RetryPolicy.LONG)
    if code in ("404", "NoSuchKey") or status == 404:
        return Fault("there is no such file or folder.", RetryPolicy.NONE)
    return Fault(f"the S3 server answers {code or status}.", RetryPolicy.NONE)


def _before_the_answer(error: boto.BotoCoreError) -> Fault:
    """The meaning of an error that the S3 client raised itself."""
    if isinstance(error, boto.ParamValidationError):
        return _bad_name()
    if isinstance(error, boto.ProfileNotFound):
        sentence = "AWS_PROFILE names credentials that are not there; set it to a profile that every node has."
        return Fault(sentence, RetryPolicy.NONE)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        sentence = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE on every node."
        return Fault(f"no S3 credentials were found; {sentence}", RetryPolicy.NONE)
    if isinstance(error, _SIGNED_OUT):
        return Fault("the credentials have expired or are not available; sign in again.", RetryPolicy.BRIEF)
    if isinstance(error, _DISCONNECTED):
        return Fault("the server does not answer; check AWS_ENDPOINT_URL and the network.", RetryPolicy.LONG)
    return Fault(f"{type(error).__name__}.", RetryPolicy.LONG)


def _bad_name() -> Fault:
    return Fault("S3 allows no bucket of this name; use small letters, digits, dots and hyphens.", RetryPolicy.NONE)
