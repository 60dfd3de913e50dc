"""Telling a damaged Parquet file from a store that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from raycv.errors import UserError


@contextmanager
def refusing_damage(sentence: str) -> Iterator[None]:
    """Raise UserError with ``sentence`` for what Arrow raises when it reads a damaged file; store errors pass through.

    Arrow also raises a bare OSError for damaged pages, while an error of a file system has a number or a class.
    """
    try:
        yield
    except pa.ArrowException:
        raise UserError(sentence) from None
    except OSError as error:
        if type(error) is not OSError or error.errno is not None:
            raise
        raise UserError(sentence) from None
