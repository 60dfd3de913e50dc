"""Telling a damaged file from a store that fails."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from raycv.errors import UserError

# What NumPy and zipfile raise of bytes that are no file of arrays, or no longer one.
OF_ARRAYS = (
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@contextmanager
def refusing_damage(sentence: str) -> Iterator[None]:
    """Raise UserError with ``sentence`` for what Arrow raises when it reads a damaged file; store errors pass through.

    Arrow also raises a bare OSError for damaged pages, while an error of a file system has a number or a class.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError):
        raise UserError(sentence) from None
    except OSError as error:
        if type(error) is not OSError or error.errno is not None:
            raise
        raise UserError(sentence) from None
