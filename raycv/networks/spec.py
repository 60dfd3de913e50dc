"""The description of a network: all that is needed to rebuild it, except its weights. Needs no PyTorch.

A *layer* is named by its module path; its units are the channels (convolutional) or neurons (fully connected) of
that module's output. In the AlexNets each named module ends in its ReLU, so units are always taken after the ReLU
(paper, footnote 9), and ``fc8`` gives the logits. For other models the layers are named by the user and the logits
are tapped under the name ``logits``. Where networks of different kinds are compared, a layer has one name in all of
them, and ``places`` says which module of each it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from raycv.data.preprocessing import Preprocessing
from raycv.data.tokenizing import Tokens
from raycv.errors import UserError
from raycv.networks import trust
from raycv.run.paths import ACROSS

ALEXNET_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
SMALL_GPT = "small-gpt"  # the language model of raycv's own
WIDTHS = {"small-alexnet": 18, "alexnet": 96}  # conv1 units of the AlexNets where the user names no width

RECORDINGS = (".npy", ".npz", ".safetensors", ".parquet", ".zarr", ".h5", ".hdf5", ".pt", ".pth")  # ends of recordings

LARGEST_SEED = 2**32 - 1  # what follows from a seed, an epoch and a worker still fits 64 bits
LOGITS = "logits"  # the name under which a network's output is tapped, where no module of its own gives it

BETWEEN = "~"  # between the layers of several networks that are compared with each other
OF = "/"  # between a network and one of its layers, in the name of what describes that layer alone

# What may stand in the description of a network: it is read from runs, which may be anybody's.
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
Argument = (
    bool
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[str, StringConstraints(pattern=PRINTABLE, max_length=4096)]
)
# A module's path, or the name of a layer.
Path = Annotated[str, StringConstraints(pattern=PRINTABLE, min_length=1, max_length=1000)]
Width = Annotated[int, Field(ge=1, le=2**20)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}(@[0-9]{1,9})?(/[^\x00-\x1f\x7f]{1,1000})?$"  # also @EPOCH, /LAYER behind it
TORCHVISION, TIMM = re.compile(r"(torchvision/)?[a-z0-9_]+"), re.compile(r"timm/[a-z0-9_]+(\.[a-z0-9_]+)*")


def is_recording(model: str) -> bool:
    """Whether a model is a file of recorded activations, or with / at its end a folder of Parquet files.

    >>> [is_recording(model) for model in ("a.npy", "parts/", "parts.parquet/", "hf/folder/", "resnet18")]
    [True, True, True, False, False]
    """
    is_folder = model.endswith("/") and not model.startswith(("hf/", "timm/", "torchvision/"))
    return is_folder or model.rstrip("/").lower().endswith(RECORDINGS)


class Place(BaseModel):
    """Where in a network a layer is, and at which positions its units are taken.

    ``module``: a module path; with ``:class`` or ``:patches`` behind it, of tokens the class token alone or all others.
    ``grid``: None takes the positions as they are; () the mean over them; (height, width) averages over the areas of
    such a coarser grid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: Path
    grid: Annotated[tuple[Annotated[int, Field(ge=1, le=2**20)], ...], Field(max_length=3)] | None = None


class NetworkSpec(BaseModel):
    """All that is needed to build a network again, but for its weights. Stored beside them as JSON.

    Sent to another process, it says there whether the user allows the function that it names (`raycv.networks.trust`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=NAME)]
    model: Annotated[str, StringConstraints(pattern=PRINTABLE, min_length=1, max_length=4096)]
    classes: Annotated[int, Field(ge=1, le=2**31)]
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    layers: Annotated[tuple[Path, ...], Field(min_length=1)]
    preprocessing: Preprocessing
    width: Width | None = None
    places: tuple[Place, ...] = ()  # of the layers; none where all are module paths and have their own positions
    across: tuple[Path, ...] = ()  # module paths that are also compared with every one of the other networks
    arguments: tuple[tuple[Identifier, Argument], ...] = ()  # by name, for what builds the model
    unit_axes: tuple[tuple[Path, Annotated[int, Field(ge=-16, le=16)]], ...] = ()  # of layers where it cannot be told
    as_built: bool = False  # not trained or imported from a file: what builds the model gives its weights too
    unit_names: tuple[tuple[str, tuple[str, ...]], ...] = ()  # of a recording: the columns of its tables, by layer
    tokens: Tokens | None = None  # of a language model, which sees texts and no images: its sequences

    @model_serializer(mode="wrap")
    def _without_none(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What describes networks of images is what it was before there were texts, and so are its fingerprints."""
        found: dict[str, Any] = plain(self)
        if found.get("tokens", ...) is None:
            del found["tokens"]
        return found

    @model_validator(mode="after")
    def _of_a_kind(self) -> Self:
        known = self.is_recorded or self.model.startswith("hf/") or self.model in (*WIDTHS, SMALL_GPT)
        function = trust.is_function(self.model) and trust.is_well_written(self.model)
        if not (known or function or TORCHVISION.fullmatch(self.model) or TIMM.fullmatch(self.model)):
            raise ValueError(f"{self.model!r} names no model")
        if self.tokens is not None and not (self.model.startswith("hf/") or self.model == SMALL_GPT):
            raise ValueError("tokens are for language models, small-gpt or hf/FOLDER")
        if self.width and self.model not in WIDTHS:
            raise ValueError("width is for AlexNets")
        if self.places and len(self.places) != len(self.layers):
            raise ValueError("there must be one place for each layer")
        if len({name for name, _ in self.arguments}) < len(self.arguments):
            raise ValueError("an argument is there twice")
        if any(".." in layer.split("/") for layer in self.layers):
            raise ValueError("no layer has .. in its name")  # layers are also folders
        return self

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "allowed": self.is_function and trust.is_allowed(self.model)}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        allowed = state.pop("allowed")
        super().__setstate__(state)
        if allowed:
            trust.allow([self.model])

    @property
    def is_function(self) -> bool:
        """Whether a user's own function builds it."""
        return not self.is_recorded and trust.is_function(self.model)

    @property
    def output(self) -> str:
        """The name under which the logits are tapped."""
        return ALEXNET_LAYERS[-1] if self.model in WIDTHS and LOGITS not in self.layers else LOGITS

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """All layers but the logits."""
        return tuple(layer for layer in self.layers if layer != self.output)

    @property
    def architecture(self) -> tuple[object, ...]:
        """What networks share that differ in their weights alone."""
        return self.model, self.width, self.arguments

    @property
    def is_recorded(self) -> bool:
        """Whether it is no network but its recorded activations, in the file ``model``."""
        return is_recording(self.model)

    @property
    def sees_images(self) -> bool:
        """Whether it can be shown images; recordings see nothing, and language models texts."""
        return not self.is_recorded and self.tokens is None

    @property
    def has_own_outputs(self) -> bool:
        """Whether the number of outputs is the builder's choice, and need not be that of the images' classes."""
        return self.as_built or self.is_function or self.model.startswith("hf/") or self.tokens is not None

    def place(self, layer: str) -> Place:
        """Where one of the layers is."""
        return self.places[self.layers.index(layer)] if self.places else Place(module=layer)

    def names_of_units(self, layer: str) -> tuple[str, ...] | None:
        """The columns in which the units of one of the layers were recorded; None where they have no names."""
        return dict(self.unit_names).get(self.place(layer).module)

    def without_layers(self) -> dict[str, Any]:
        """As JSON, without what is compared: what the weights depend on."""
        return self.model_dump(mode="json", exclude={"layers", "places", "across", "unit_axes"})

    def members(self) -> tuple[NetworkSpec, ...]:
        """One description for each layer that is compared across layers: its mean over the positions."""
        return tuple(
            self.model_copy(
                update={
                    "name": f"{self.name}{OF}{path}",
                    "layers": (ACROSS,),
                    "places": (Place(module=path, grid=()),),
                    "across": (),
                }
            )
            for path in self.across
        )

    @property
    def network(self) -> str:
        """The name of the network, also of one that describes a single layer of it."""
        return self.name.partition(OF)[0]


def check_alike(specs: Sequence[NetworkSpec]) -> None:
    """Raise UserError unless the networks have the same layers."""
    first = specs[0]
    for spec in specs[1:]:
        if spec.layers != first.layers:
            raise UserError(
                f"The networks differ: {spec.name} has the layers {', '.join(spec.layers)} and {first.name} "
                f"has {', '.join(first.layers)}; compare networks with the same layers."
            )


def check_sees_images(spec: NetworkSpec) -> None:
    """Raise UserError for a language model, where images are to be shown."""
    if spec.tokens is not None:
        raise UserError(
            f"{spec.name} reads texts, and this stage shows networks images; do it in a run of networks that see them."
        )


def first_of(error: ValidationError) -> str:
    """What is wrong first with what a file holds, and where in it."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
