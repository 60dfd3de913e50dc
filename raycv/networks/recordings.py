"""Recorded activations in the place of networks: their descriptions, and the samples that a run of them is of.

Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raycv.data.preprocessing import Preprocessing
from raycv.data.recorded import Recorded, located, recorded
from raycv.data.samples import orders, samples_of
from raycv.data.sources import Source, open_source
from raycv.data.texts import Documents, open_documents
from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec, is_recording
from raycv.run.filesystem import with_retries
from raycv.run.fingerprint import fingerprint

NO_IMAGES = Preprocessing(resize=1, crop=1, mean=(0, 0, 0), std=(1, 1, 1))


def recording_spec(name: str, path: str) -> NetworkSpec:
    """The description of a recording; its layers are all that it holds. Raises UserError where it cannot be read."""
    where = located(path)
    where = where if is_recording(where) else f"{where}/"
    found = recorded(name, where)
    return NetworkSpec(
        name=name,
        model=where,
        classes=1,
        seed=0,
        layers=tuple(found.layers),
        preprocessing=NO_IMAGES,
        as_built=True,
        unit_names=tuple(found.unit_names.items()),
    )


def opened(spec: NetworkSpec) -> Recorded:
    """The recording that ``spec`` describes."""
    return recorded(spec.name, spec.model)


def digest(spec: NetworkSpec) -> str:
    """What changes where the file does: its size, and when it was written."""

    def facts(fs: Any, path: str) -> Any:
        found = fs.info(path)
        return [found.get(name) for name in ("size", "mtime", "ETag", "LastModified")]

    return fingerprint(spec.model, with_retries(spec.model, "read the recording", facts))


def validation_of(
    specs: Sequence[NetworkSpec], data: str, *, text_column: str | None = None, **columns: str | None
) -> Source:
    """What the networks of a run see: the validation images or documents of ``data``, or the samples of recordings.

    Raises UserError where recordings are not of the same samples.
    """
    texts = [spec.tokens for spec in specs if spec.tokens is not None]
    if texts:
        found = open_documents(data, texts, text_column)
        check_ids(specs, found)
        return found
    if text_column:
        raise UserError(f"--text-column was given {text_column!r}, and these networks see no texts; leave it out.")
    if all(spec.is_recorded for spec in specs):
        return samples_of([opened(spec) for spec in specs], [spec.model for spec in specs])
    return open_source(data, "validation", **columns)


def check_ids(specs: Sequence[NetworkSpec], documents: Source) -> None:
    """Raise UserError where documents are token ids, and one is none of a network's."""
    largest = documents.reader.largest_id if isinstance(documents.reader, Documents) else None
    for spec in specs:
        known = spec.tokens.vocabulary if spec.tokens is not None else None
        if largest is not None and known is not None and largest >= known:
            raise UserError(
                f"The documents in {documents.name} have the token id {largest}, and {spec.name} has {known} "
                f"embeddings, for ids from 0 to {known - 1}; name documents that its own tokenizer made."
            )


def check_samples(specs: Sequence[NetworkSpec], images: int) -> None:
    """Raise UserError where a recording is not of the validation images, or recordings alone of the same samples."""
    recordings = [opened(spec) for spec in specs if spec.is_recorded]
    orders(recordings, images if len(recordings) < len(specs) else None)
