"""Rows of the table contexts: the tokens at which units of language models are highest, with the text around them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raycv.analysis.top_patches import TopPatches
from raycv.data.texts import Documents
from raycv.data.tokenizing import Tokens, shown
from raycv.progress import Progress
from raycv.statistics.reader import Statistics

AROUND = 12  # tokens shown on either side
AT_ONCE = 256  # documents read together


def contexts(found: Statistics, documents: Documents) -> Iterator[tuple[str, pd.DataFrame]]:
    """Layer and rows of one network's layer at a time, a row for every unit and rank."""
    units = sum(sum(found.widths(layer)) for layer in found.layers)
    with Progress("patches", units, "units") as progress:
        for layer in found.layers:
            arrays = found.patches(layer)
            tops = [TopPatches.from_arrays(arrays, str(number)) for number in range(len(found.networks))]
            sequences = _sequences(tops, documents, {spec.tokens for spec in found.networks if spec.tokens})
            for spec, top in zip(found.networks, tops, strict=True):
                assert spec.tokens is not None
                yield layer, _rows(spec.name, top, spec.tokens, sequences[spec.tokens])
                progress.advance(len(top.image), layer)


Sequences = dict[int, NDArray[np.int32]]  # by document (2, context), see `Tokens.encode`


def _sequences(tops: list[TopPatches], documents: Documents, tokens: set[Tokens]) -> dict[Tokens, Sequences]:
    """The documents that any unit is highest in, as sequences."""
    wanted = np.unique(np.concatenate([top.image[top.image >= 0] for top in tops]))
    found: dict[Tokens, Sequences] = {of_net: {} for of_net in tokens}
    for start in range(0, len(wanted), AT_ONCE):
        numbers = wanted[start : start + AT_ONCE]
        given = documents.documents(numbers)
        for of_net, sequences in found.items():
            sequences.update(zip(numbers.tolist(), of_net.encode(given), strict=True))
    return found


def _rows(net: str, top: TopPatches, tokens: Tokens, sequences: Sequences) -> pd.DataFrame:
    unit, rank = np.nonzero(top.image >= 0)
    documents, positions = (values[unit, rank].astype(np.int64) for values in (top.image, top.position))
    places = [int(sequences[document][1, at]) for document, at in zip(documents.tolist(), positions, strict=True)]
    parts = [
        shown(tokens, sequences[document][0], place, AROUND)
        for document, place in zip(documents.tolist(), places, strict=True)
    ]
    before, token, after = zip(*parts, strict=True) if parts else ((), (), ())
    about = {"net": net, "unit": unit, "rank": rank + 1, "document": documents, "place": places}
    texts = {"before": before, "token": token, "after": after}
    return pd.DataFrame(about | {"value": top.value[unit, rank]} | texts)
