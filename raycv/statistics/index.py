"""statistics.json: what the pass has left, and where."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from raycv.errors import UserError
from raycv.networks.spec import NetworkSpec
from raycv.run.paths import STATISTICS, Key
from raycv.run.store import RunStore

FORMAT = 11  # of partials and statistics; part of their identity


class StatisticsIndex(BaseModel):
    """What the file STATISTICS holds, for readers."""

    groups: dict[str, Annotated[tuple[NetworkSpec, ...], Field(min_length=2)]]
    folds: dict[str, Annotated[int, Field(ge=1)]]
    widths: dict[str, Annotated[tuple[Annotated[int, Field(ge=1, le=2**20)], ...], Field(min_length=2)]]
    folder: str
    images: int
    classes: int | None = None
    keep_rare: bool = False

    def describes_all(self) -> bool:
        """Whether folds and widths are told of every network in every layer of every group, and of no others."""
        networks = {
            str(Key(group, layer)): len(specs) for group, specs in self.groups.items() for layer in specs[0].layers
        }
        return self.folds.keys() == networks.keys() and networks == {
            key: len(widths) for key, widths in self.widths.items()
        }

    def by_key(self) -> tuple[dict[Key, int], dict[Key, tuple[int, ...]]]:
        """The number of folds, and the units of every network, by group and layer."""
        folds = {_key(name): count for name, count in self.folds.items()}
        return folds, {_key(name): of_key for name, of_key in self.widths.items()}


def read_index(store: RunStore) -> StatisticsIndex:
    """What a run's statistics are. Raises UserError where it has none yet, damaged ones, or another version's."""
    if not store.exists(STATISTICS):
        raise UserError(f"The run {store.uri} has no statistics yet; run `raycv collect` first.")
    index = store.read_json(STATISTICS)
    if index.get("format") != FORMAT:
        raise UserError(
            f"The statistics of {store.uri} were collected by another version of raycv; run `raycv collect` again."
        )
    try:
        held = StatisticsIndex.model_validate_json(json.dumps(index), strict=True)
    except ValidationError:
        held = None
    if held is None or not held.describes_all():
        raise UserError(
            f"{store.locate(STATISTICS)} does not describe statistics; remove it and run `raycv collect` again."
        )
    return held


def _key(name: str) -> Key:
    return Key(*name.partition("/")[::2])
