"""Recordings that `torch.save` wrote, on disk or on S3. Nothing but tensors and plain containers is unpickled."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from raycv.data.contents import ONLY, Contents
from raycv.data.stored_rows import with_ids
from raycv.errors import UserError
from raycv.run.filesystem import check_file, filesystem, with_retries


def torch_file(uri: str) -> Contents:
    """The tensor of a file, or its mapping of layer names to tensors. Local files are mapped into memory, not read.

    Raises UserError for what is neither.
    """
    import torch

    def read(fs: Any, path: str) -> bytes:
        check_file(fs, path)
        content: bytes = fs.cat_file(path)
        return content

    if "://" in uri:
        found = torch.load(io.BytesIO(with_retries(uri, "read", read)), map_location="cpu", weights_only=True)
    else:
        path = filesystem(uri)[1]
        with_retries(uri, "read", check_file)
        found = _mapped(path)
    if isinstance(found, Mapping):
        return with_ids({str(name): values for name, values in found.items()})
    if not isinstance(found, torch.Tensor):
        raise UserError(
            f"{uri} holds {type(found).__name__}; save a tensor (samples, units), or a mapping of layer names to such."
        )
    return Contents({ONLY: found})


def _mapped(path: str) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # the format before 1.6 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True)
