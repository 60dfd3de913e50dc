"""What small language models are trained on: all of each document, cut into sequences of one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycv.data.readers import Item
from raycv.data.sampling import permuted
from raycv.data.sources import Source
from raycv.data.texts import Documents, open_documents
from raycv.data.tokenizing import Tokens, whole
from raycv.errors import UserError


@dataclass(frozen=True)
class Windows:
    """The training sequences of ``documents``, ``count`` of them in one fixed random choice, or all.

    A document gives one sequence after the other; what is left at its end is not seen.
    """

    documents: Documents
    sequences: NDArray[np.uint8]  # (n, context) bytes
    count: int
    class_names: None = None
    neighbours: int = 1

    def __getstate__(self) -> dict[str, Any]:
        """Without the sequences, which workers get from Ray's object store."""
        return {**self.__dict__, "sequences": self.sequences[:0]}

    @property
    def root(self) -> str:
        """What all its files are below."""
        return self.documents.root

    @property
    def facts(self) -> Any:
        """What identifies the sequences."""
        return ["windows", self.documents.facts, self.count]

    def __len__(self) -> int:
        return self.count

    def items(self, _numbers: Sequence[int] | NDArray[np.integer[Any]]) -> Iterator[Item]:
        """Raise UserError."""
        return self.documents.items(())

    def largest_label(self) -> int:
        """There are no labels."""
        return -1

    def first(self, count: int) -> Windows:
        """``count`` of the sequences, a part of any larger choice. Raises UserError where there are fewer."""
        if count > len(self.sequences):
            raise UserError(
                f"{self.root} has {len(self.sequences):,} training sequences, fewer than the {count:,} asked for; name "
                f"a number of at most {len(self.sequences):,}."
            )
        chosen = np.sort(permuted(np.arange(count), len(self.sequences), seed=0))
        return replace(self, sequences=self.sequences[chosen], count=count)


def open_windows(data: str, tokens: Tokens, column: str | None = None) -> Source:
    """The training sequences of the documents in ``data`` as bytes. Raises UserError where there are none."""
    source = open_documents(data, [tokens], column, split="train")
    documents = source.reader
    assert isinstance(documents, Documents)
    parts = [whole(tokens, str(document)) for document in documents.documents(np.arange(len(documents)))]
    sequences = np.concatenate(parts)
    return Source(source.name, Windows(documents, sequences, len(sequences)), 1, "sequences")
