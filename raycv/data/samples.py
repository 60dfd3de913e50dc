"""The samples of recorded activations, in the place of a set of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raycv.data.readers import Item
from raycv.data.recorded import Recorded, paired
from raycv.data.sources import Source
from raycv.errors import UserError


@dataclass(frozen=True)
class RecordedSamples:
    """Reads no images, for there are none; ``facts`` say which recordings the samples are of."""

    root: str  # a path of one of them
    count: int
    facts: Any
    class_names: None = None
    neighbours: int = 1

    def __len__(self) -> int:
        return self.count

    def items(self, _numbers: Sequence[int] | np.ndarray) -> Iterator[Item]:
        """Raise UserError."""
        raise UserError("Recorded activations have no images; give networks that take some.")

    def largest_label(self) -> int:
        """There are no labels."""
        return -1


def samples_of(recordings: Sequence[Recorded], paths: Sequence[str]) -> Source:
    """The samples that all recordings are of. Raises UserError where they are not of the same ones."""
    paired(list(recordings))
    names = ", ".join(recording.name for recording in recordings)
    return Source(f"the recordings {names}", RecordedSamples(paths[0], recordings[0].samples, list(paths)), 1)


def orders(recordings: Sequence[Recorded], images: int | None) -> list[np.ndarray | None]:
    """For every recording which of its samples is which; None where they stand in order already.

    ``images``: how many images other networks see; ids are then the numbers of these. Raises UserError where the
    samples are not the same.
    """
    if images is None:
        return list(paired(list(recordings)))
    found: list[np.ndarray | None] = []
    for recording in recordings:
        ids = None if recording.ids is None else np.arange(images)
        of_images = Recorded("the validation images", {"": np.empty((images, 1))}, ids)
        found.append(paired([of_images, recording])[1])
    return found


def beside_data(recordings: Sequence[Recorded]) -> list[np.ndarray | None]:
    """For every recording which of its samples is which of the data that networks see; None where they are in order.

    Data has no names. Ids that are the numbers from 0 say which sample is which; others can only say that recordings
    stand in the same order as each other. Raises UserError where they do not.
    """
    found: list[np.ndarray | None] = []
    in_place: list[Recorded] = []
    for recording in recordings:
        ids, order = recording.ids, None
        if ids is not None and not recording.is_numbered:
            if ids.dtype.kind == "i" and np.array_equal(np.sort(ids), np.arange(len(ids))):
                order = None if (ids[1:] > ids[:-1]).all() else np.argsort(ids)
            elif ids.dtype.kind in "iuf" and not (ids[1:] > ids[:-1]).all():
                raise UserError(
                    f"The ids of {recording.name} are neither the numbers of the samples of data, from 0, nor in "
                    "ascending order, so it is not known which is which; record them in the order of data."
                )
            else:
                in_place.append(recording)
        found.append(order)
    for other in in_place[1:]:
        if not np.array_equal(np.asarray(in_place[0].ids), np.asarray(other.ids)):
            raise UserError(
                f"The samples of {in_place[0].name} and {other.name} stand in different orders, and data has no names "
                "that could be followed; record both in the order of data."
            )
    return found
