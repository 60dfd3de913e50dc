"""The cells of `raycv attribute`: conditions in which networks are trained, by name or as a user's file has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

REFERENCE = "true"
SETTINGS = (  # of training, that a cell may change
    "train_labels",
    "train_part",
    "train_classes",
    "first_weights",
    "image_order",
    "augmentation",
    "train_images",
    "model",
    "width",
    "layers",
    "epochs",
    "batch_size",
    "learning_rate",
    "schedule",
    "momentum",
    "weight_decay",
)
SEVERAL = ("model", "width", "layers")  # of these, what may have several values, with commas or as a list


class NamedCell(BaseModel):
    """One condition: what it changes of the attribution's settings, and the cell that it is compared with.

    In a YAML file a name of `NAMED`, or a mapping. ``is_untrained``: its networks are not trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    against: str | None = REFERENCE
    settings: Mapping[str, Any] = {}
    is_untrained: bool = False

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        given = {True: "true"}.get(given, given) if isinstance(given, bool) else given  # as YAML reads `true`
        if isinstance(given, str):
            if given not in NAMED:
                raise ValueError(f"there is no cell of this name; allowed are {', '.join(NAMED)}")
            return NAMED[given]
        return given

    @field_validator("settings")
    @classmethod
    def _listed(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: _values(value) if name in SEVERAL else value for name, value in given.items()}

    @model_validator(mode="after")
    def _of_ones_own(self) -> NamedCell:
        if self.name in NAMED and self.model_dump() != NAMED[self.name]:
            raise ValueError(f"{self.name} is a cell of raycv's own; give yours another name")
        unknown = [name for name in self.settings if name not in SETTINGS]
        if unknown:
            raise ValueError(f"{unknown[0]} is no setting of a cell; allowed are {', '.join(SETTINGS)}")
        return self


def _values(given: Any) -> Any:
    """One value or a text with commas as a list, as a setting outside of cells may be written."""
    if isinstance(given, str):
        return [piece.strip() for piece in given.split(",")]
    return given if isinstance(given, list | tuple) else [given]


def _cell(name: str, against: str | None = REFERENCE, *, is_untrained: bool = False, **settings: str) -> dict[str, Any]:
    return {"name": name, "against": against, "settings": settings, "is_untrained": is_untrained}


_ALL = (
    _cell(REFERENCE, None),
    _cell("untrained", is_untrained=True),
    _cell("random_different", train_labels="random-each"),
    _cell("random_same", train_labels="random"),
    _cell("same_weights", first_weights="same"),
    _cell("same_order", image_order="same"),
    _cell("half", train_part="half"),
    _cell("disjoint_halves", "half", train_part="halves"),
    _cell("half_classes", train_classes="half"),
    _cell("disjoint_classes", "half_classes", train_classes="halves"),
    _cell("no_augmentation", augmentation="none"),
)
NAMED = {cell["name"]: cell for cell in _ALL}
DEFAULT = tuple(name for name in NAMED if name not in ("same_order", "no_augmentation"))
