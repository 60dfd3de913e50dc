"""The settings: one model per stage, and RunConfig for all stages.

Each field is a flag (``--shard-size 512``), an environment variable (``RAYCV_SHARD_SIZE=512``) and a key of the YAML
file given by ``--config``; `raycv.settings` reads them. The class in which a field stands names its group in the help.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from raycv.cells import DEFAULT, NAMED, NamedCell
from raycv.data.preprocessing import Encoding, Fit, Preprocessing
from raycv.devices import Device, Processors
from raycv.networks.spec import LARGEST_SEED, WIDTHS, Argument, is_recording
from raycv.paper import CLUSTERS, CLUSTERS_FIRST, DECAYS, NODES_FIRST, THRESHOLD, UNITS_USED

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Hyperparameters:
    """Training settings used where the user gives none."""

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str


SMALL = Hyperparameters(epochs=8, batch_size=64, learning_rate=0.05, schedule="one-cycle")  # small-alexnet
GPT = Hyperparameters(epochs=3, batch_size=32, learning_rate=3e-3, schedule="one-cycle")  # small-gpt
PAPERS = Hyperparameters(epochs=90, batch_size=256, learning_rate=0.01, schedule="step")  # Caffe's reference network


CONTEXT = 128  # tokens of a document that language models see
QUICK = {"width": (8,), "epochs": 6, "train_images": 4000}  # settings of a quick attribution
LEAST_SEEDS = 4  # of an attribution
MAPPED_DECAY = 1e-3  # at which an attribution compares the loss of mapping layers

PUBLISHED, UNTRAINED = "published", "untrained"  # weights of a network that are no file

Settings = TypeVar("Settings", bound="CommandConfig")


class CommandConfig(BaseModel):
    """Settings of every command."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    group: ClassVar[str] = "settings"

    config: str | None = Field(None, min_length=1, description="YAML file with any of these settings")

    def part(self, of: type[Settings], **changes: Any) -> Settings:
        """The settings of one stage among those of a command that does several, with ``changes`` to them."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name in of.model_fields}
        return of(**given | {name: value for name, value in changes.items() if name in of.model_fields})


class StageConfig(CommandConfig):
    """Settings of every stage of a run."""

    group: ClassVar[str] = "run"

    run: str = Field(
        "runs/default",
        min_length=1,
        description="folder of the run: a local path, or a prefix of s3://, gs:// or az://",
    )


class DataConfig(CommandConfig):
    """Which images."""

    group: ClassVar[str] = "images"

    data: str = Field(
        "cifar10-subset",
        min_length=1,
        description="images: cifar10-subset (the package raycv-images), a folder or prefix of s3://, gs://, az:// or "
        "hf://datasets/ with Hugging Face style "
        "Parquet, an ImageFolder tree, torchvision's CIFAR10 root, or what raycv prepare has written; an "
        "EXIF orientation is not applied, as in torchvision; for language models a folder or prefix of Parquet files "
        "or JSON lines with texts or token ids (default: passages of Shakespeare, the package raycv-texts)",
    )
    image_column: str | None = Field(
        None, min_length=1, description="image column of the Parquet files; found automatically if not given"
    )
    label_column: str | None = Field(
        None, min_length=1, description="label column of the Parquet files; found automatically if not given"
    )


class SamplesConfig(DataConfig):
    """Which images or texts."""

    group: ClassVar[str] = "images"

    text_column: str | None = Field(
        None,
        min_length=1,
        description="for language models: column of the documents in Parquet files or JSON lines, texts or lists of "
        "token ids (default: text or input_ids, whichever there is)",
    )


class ComputeConfig(StageConfig):
    """On which processors."""

    group: ClassVar[str] = "processors"

    device: Device = Field(
        "auto",
        description="where networks run and wide layers are compared; auto uses GPUs if the cluster has any that "
        "PyTorch can use, gpu also asks an autoscaling cluster for GPUs that it does not have yet",
    )
    gpus: Positive | None = Field(
        None,
        description="use and ask for at most this many GPUs (default: all that there are; an autoscaling cluster is "
        "asked for one for each network)",
    )

    @property
    def processors(self) -> Processors:
        """Which processors are wanted."""
        return Processors(self.device, self.gpus)

    @model_validator(mode="after")
    def _on_gpus(self) -> Self:
        if self.gpus and self.device == "cpu":
            raise ValueError("device cpu uses no GPUs, and gpus says how many; leave one of the two out")
        return self


class TrackConfig(StageConfig):
    """Whom to tell how training and sweeps go on."""

    group: ClassVar[str] = "tracking"

    track: Literal["tensorboard", "mlflow", "wandb"] | None = Field(
        None,
        description="tell a tracker of experiments how training and sweeps go on: tensorboard (files in the run, in "
        "tracking/), mlflow (at MLFLOW_TRACKING_URI; the extra mlflow) or wandb (Weights & Biases; the extra wandb); "
        "default: none",
    )


class Network(BaseModel):
    """One of the networks that are given whole, as MODEL, NAME=MODEL or, in a YAML file, with more of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")
    weights: str = Field(PUBLISHED, min_length=1)  # as whatever builds it gives them; or untrained, or a file
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 1
    layers: tuple[str, ...] | None = Field(None, min_length=1)
    arguments: dict[str, Argument] = {}
    preprocessing: Preprocessing | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether it is no network but its recorded activations, in a file or a folder of Parquet files."""
        path = self.model.removeprefix("file://")
        is_folder = "://" in path or ("/" in path and os.path.isdir(os.path.expanduser(path)))
        return is_recording(f"{self.model}/" if is_folder else self.model)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        name, equals, model = given.partition("=")
        return {"name": name, "model": model} if equals else {"model": given}


class PrepareConfig(DataConfig):
    """`raycv prepare`: images decoded and resized once, to be read by index."""

    group: ClassVar[str] = "prepared images"

    to: str | None = Field(
        None, min_length=1, description="a new folder or prefix, such as s3://bucket/prefix, for the images"
    )
    size: Annotated[int, Field(ge=1, le=4096)] = Field(256, description="height and width of the images, in pixels")
    fit: Fit = Field(
        "short-side",
        description="short-side: the shorter side is resized and the centre of the longer one kept, as torchvision's "
        "networks have it; squash: both sides are resized, as the paper's networks have it",
    )
    format: Encoding = Field(
        "jpeg95", description="jpeg95: JPEG of quality 95; raw: pixels, some seven times as large and not decoded again"
    )
    verify: bool = Field(False, description="make nothing, and check every byte of the prepared images that --to names")


class NetworksConfig(StageConfig):
    """Which networks, and what of them is compared with what."""

    group: ClassVar[str] = "networks"

    networks: tuple[Network, ...] = Field(
        (),
        description="networks as they are, instead of training: torchvision/NAME, timm/NAME, hf/FOLDER, a function of "
        "your own, package.module:function, or a file of recorded activations (.npy, .npz, .safetensors, .pt, "
        ".parquet, .h5, .zarr) or a folder of Parquet files; NAME=MODEL names one; more can be said of each in a YAML "
        "file",
    )

    seeds: tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED)], ...] = Field(
        (1, 2, 3, 4), min_length=1, description="seeds; one network is trained per seed"
    )
    model: tuple[str, ...] = Field(
        ("small-alexnet",),
        min_length=1,
        description="small-alexnet, alexnet (the paper's), a torchvision model, timm/NAME, hf/FOLDER, "
        "package.module:function, a function of your own, or small-gpt, a causal language model of bytes; one for all "
        "networks or one each",
    )
    width: tuple[Positive, ...] | None = Field(
        None,
        min_length=1,
        description="units in conv1 of an AlexNet; one number for all networks or one per network "
        f"(default {WIDTHS['small-alexnet']}; alexnet: {WIDTHS['alexnet']})",
    )
    layers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="layers to compare, as module paths, in which * stands for anything (default for the AlexNets: "
        "conv1 to fc8); of tokens PATH:class is the class token alone and PATH:patches all others",
    )
    compare: tuple[str, ...] = Field(
        ("same",),
        min_length=1,
        description="same: layers of the same name; all: also every layer of one network with every layer of the "
        "others; or the layers that belong together, with ~ between those of the networks: layer1~blocks.3,fc~head",
    )
    positions: Literal["same", "resample", "mean"] = Field(
        "same",
        description="same: every position of an image is a sample, and compared layers must have as many; resample: "
        "the finer grid is averaged over the areas of the coarser one; mean: one sample an image, the mean over "
        "positions",
    )
    unit_axis: tuple[Annotated[str, Field(pattern=r"^.+=-?[0-9]{1,2}$")], ...] = Field(
        (),
        description="axis that counts units, where it cannot be told: LAYER=AXIS, such as blocks.0.attn.softmax=1, the "
        "axis from 0 as the layer gives it, or from -1, the last one",
    )
    context: Annotated[int, Field(ge=4, le=2**20)] = Field(
        CONTEXT,
        description="for language models: tokens of each document that they see, the first ones; shorter documents are "
        "left out",
    )
    checkpoints: tuple[str, ...] = Field(
        (),
        description="import these trained networks (.safetensors or PyTorch state dicts) instead of training",
    )

    @field_validator("seeds", "layers", "compare")
    @classmethod
    def _differ(cls, given: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        twice = [value for value in given or () if (given or ()).count(value) > 1]
        if twice:
            raise ValueError(f"all must differ, and {twice[0]} is there twice")
        return given

    @field_validator("compare")
    @classmethod
    def _one_way(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(given) > 1 and {"same", "all"} & set(given):
            raise ValueError("it is same, all or a list of layers")
        return given

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.layers and self.compare[0] not in ("same", "all"):
            raise ValueError("layers and a list of layers to compare both say which; leave one of the two out")
        if not self.networks:
            return self
        theirs = ("seeds", "model", "width", "checkpoints")
        given = [name for name in theirs if getattr(self, name) != NetworksConfig.model_fields[name].default]
        if given:
            raise ValueError(
                f"networks are given whole, and {given[0]} belongs to networks that are trained or imported by their "
                "model; leave one of the two out"
            )
        return self


class SharedConfig(StageConfig):
    """What networks have in common when they are trained: without these settings the images and their labels."""

    group: ClassVar[str] = "what networks share"

    train_labels: Literal["true", "random", "random-each"] = Field(
        "true",
        description="true; random: labels drawn at random, the same for all networks; random-each: drawn anew for "
        "every network",
    )
    train_part: Literal["all", "half", "halves"] = Field(
        "all",
        description="all training images; half: all networks are trained on the same half of them; halves: the first, "
        "third, ... network on one half and the others on the other",
    )
    train_classes: Literal["all", "half", "halves"] = Field(
        "all",
        description="all classes; half: all networks are trained on images of the first half of the classes; halves: "
        "the first, third, ... network on the first half of the classes and the others on the second",
    )
    first_weights: Literal["other", "same"] = Field(
        "other", description="other: every network begins with weights of its own; same: with those of the first seed"
    )
    image_order: Literal["other", "same"] = Field(
        "other",
        description="other: every network has an order of the images, augmentation and dropout of its own; same: all "
        "have those of the first seed",
    )
    augmentation: Literal["usual", "none"] = Field(
        "usual", description="usual: images are cropped and mirrored at random in training; none: the centre is cut out"
    )

    @property
    def changed(self) -> dict[str, str]:
        """Those of these settings that are not as usual, by name."""
        given = {
            name: getattr(self, name) for name in SharedConfig.model_fields if name not in StageConfig.model_fields
        }
        return {name: value for name, value in given.items() if value != SharedConfig.model_fields[name].default}

    @property
    def are_apart(self) -> bool:
        """Whether the networks are of two kinds, in turn, which have no training image in common."""
        return "halves" in (self.train_part, self.train_classes)

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        if self.train_classes != "all" and self.train_part != "all":
            raise ValueError("train_part and train_classes both say which images; leave one of the two out")
        if self.train_classes != "all" and self.train_labels != "true":
            raise ValueError("random labels are no classes that train_classes could choose; leave one of the two out")
        return self


class TrainConfig(NetworksConfig, SamplesConfig, ComputeConfig, TrackConfig, SharedConfig):
    """`raycv train`: several networks that differ only in their seeds."""

    group: ClassVar[str] = "training"

    train_images: Positive | None = Field(
        None,
        description="train on this many of the training images, a fixed random choice; a smaller one is part of a "
        "larger one (default: all)",
    )
    epochs: Positive | None = Field(
        None,
        description=f"passes over the training images, or sequences (default {SMALL.epochs}; alexnet: "
        f"{PAPERS.epochs}; small-gpt: {GPT.epochs})",
    )
    batch_size: Positive | None = Field(
        None,
        description=f"images, or sequences, per step (default {SMALL.batch_size}; alexnet: "
        f"{PAPERS.batch_size}; small-gpt: {GPT.batch_size})",
    )
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description=f"highest learning rate (default {SMALL.learning_rate}; alexnet: {PAPERS.learning_rate}; "
        f"small-gpt: {GPT.learning_rate})",
    )
    schedule: Literal["one-cycle", "step"] | None = Field(
        None,
        description=f"schedule of the learning rate (default {SMALL.schedule}; alexnet: {PAPERS.schedule}, which "
        "divides it by ten after each 20 of 90 epochs)",
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="momentum of the gradient descent")
    weight_decay: Annotated[float, Field(ge=0)] = Field(5e-4, description="L2 penalty on the weights; biases have none")
    workers: Positive = Field(1, description="data-parallel workers per network")
    keep_epochs: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        description="also keep the networks as they are after these epochs (0: before training), to see how the "
        "alignment comes about",
    )
    fork_epoch: Positive | None = Field(
        None,
        description="all networks are the first one up to the end of this epoch, and differ from there on only in the "
        "order and augmentation of the images and in dropout",
    )

    @property
    def imports(self) -> bool:
        """Whether the networks come from elsewhere and none is trained."""
        return bool(self.checkpoints or self.networks)

    @model_validator(mode="after")
    def _one_or_each(self) -> Self:
        if self.checkpoints and not self.networks and "seeds" not in self.model_fields_set:
            object.__setattr__(self, "seeds", tuple(range(1, len(self.checkpoints) + 1)))
        for what, given in (("model", self.model), ("width", self.width or (1,))):
            if len(given) not in (1, len(self.seeds)):
                raise ValueError(
                    f"{what} has {len(given)} values for {len(self.seeds)} networks; give one value, or one per network"
                )
        if self.checkpoints and len(self.checkpoints) != len(self.seeds):
            raise ValueError(f"there are {len(self.checkpoints)} checkpoints for {len(self.seeds)} seeds")
        if self.imports and (self.keep_epochs or self.fork_epoch):
            raise ValueError(
                "keep_epochs and fork_epoch are for networks that are trained here, not for checkpoints or networks"
            )
        if self.fork_epoch and len({*self.model}) * len({*(self.width or (1,))}) > 1:
            raise ValueError("fork_epoch is for networks of one model and width, which can share their first epochs")
        if self.changed:
            self._check_shared(next(iter(self.changed)))
        return self

    def _check_shared(self, name: str) -> None:
        """``name``: one of the settings of what networks share that is not as usual."""
        if self.imports:
            raise ValueError(f"{name} is for networks that are trained here, not for checkpoints or networks")
        if self.fork_epoch:
            raise ValueError(f"networks that are one up to fork_epoch share all up to there; leave {name} out")
        if self.first_weights == "same" and len({*self.model}) * len({*(self.width or (1,))}) > 1:
            raise ValueError("first_weights is for networks of one model and width, which can begin with the same")
        differ = self.train_labels == "random-each" or (self.are_apart and len(self.seeds) == 2)
        if self.first_weights == self.image_order == "same" and not differ:
            raise ValueError(
                "with the same first weights and the same order of the same images all networks would be one; leave "
                "first_weights or image_order out"
            )


class CollectConfig(SamplesConfig, ComputeConfig):
    """`raycv collect`: one pass of the validation images through all networks at once."""

    group: ClassVar[str] = "pass"

    shard_size: Positive = Field(
        256, description="images per shard; a shard is the unit of work and is counted once or not at all"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the forward passes; statistics are always summed in float32 and float64"
    )
    keep_rare: bool = Field(
        False, description="rare units, whose variance rests on one eighth of the images, take part in all that follows"
    )
    actors: Positive | None = Field(
        None, description="number of actors that hold the networks (default: one per core or GPU, as memory allows)"
    )


class AlignConfig(ComputeConfig):
    """`raycv align`: correlations and matchings from the statistics."""


class PatchesConfig(ComputeConfig):
    """`raycv patches`: pictures of what the units see and of what drives them."""


class FiguresConfig(StageConfig):
    """`raycv figures`: the paper's figures, drawn from the tables."""


class ReportConfig(StageConfig):
    """`raycv report`: one HTML file with the figures and every unit's partners."""

    group: ClassVar[str] = "report"

    open: bool = Field(False, description="show the report in a browser once it is written")


class ClusterSweepConfig(TrackConfig):
    """`raycv sweep clusters`: spectral clusters of the units of two networks, for several k and thresholds."""

    group: ClassVar[str] = "clusters"

    k: tuple[Positive | Literal["paper"], ...] = Field(
        (),
        description="numbers of clusters, in addition to the default and the one with the largest modularity; "
        f"paper: the default is its {CLUSTERS_FIRST} in the first layer and {CLUSTERS} in the others, and not "
        f"{CLUSTERS_FIRST}/{NODES_FIRST} of the units with an edge, at most {CLUSTERS}",
    )
    thresholds: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (THRESHOLD,),
        min_length=1,
        description=f"two units share an edge if their correlation is above this (default {THRESHOLD}, the paper's)",
    )


class MappingSweepConfig(ComputeConfig, TrackConfig):
    """`raycv sweep mapping`: units of one network predicted from a few units of another, for several L1 penalties."""

    group: ClassVar[str] = "mapping layers"

    decays: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        DECAYS,
        min_length=1,
        description="L1 weight decays, as the paper defines them (default, its Table 1: 0, 1e-5, 1e-4, 1e-3, 10^-2.6, "
        "1e-2, 1e-1)",
    )
    solvers: Annotated[tuple[Literal["exact", "sgd", "streamed"], ...], Field(min_length=1)] | None = Field(
        None,
        description="exact (the optimum), sgd (the paper's training, in expectation) or streamed (the same training on "
        "the networks' activations, slow); default: exact and sgd, in `raycv run` only exact",
    )
    units_used: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="also find the decay at which this many source units predict a target unit, on average "
        f"(paper: {UNITS_USED})",
    )
    loss: Annotated[float, Field(gt=0, lt=0.5)] | None = Field(
        None, description="also find the decay that gives this loss (a loss of 0.5 predicts nothing)"
    )


class RunConfig(
    TrainConfig,
    CollectConfig,
    AlignConfig,
    MappingSweepConfig,
    ClusterSweepConfig,
    PatchesConfig,
    FiguresConfig,
    ReportConfig,
):
    """`raycv run`: all stages in order."""


class PruneConfig(ComputeConfig):
    """`raycv prune`: the accuracy of networks without some of their units."""

    group: ClassVar[str] = "removed units"

    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.1, 0.25, 0.5, 0.75, 0.9), min_length=1, description="fractions of a layer's units that are removed"
    )
    fill: Literal["mean", "zero"] = Field(
        "mean", description="what a removed unit is set to: its mean activation over the validation images, or 0"
    )


class AblateConfig(ComputeConfig):
    """`raycv ablate`: what becomes of the loss without a group of units."""

    group: ClassVar[str] = "groups of units"

    single_units: Annotated[int, Field(ge=0)] = Field(
        256, description="also remove every single unit of layers with at most this many (0: of no layer)"
    )


class StitchConfig(ComputeConfig):
    """`raycv stitch`: the first layers of one network followed by the last of another."""

    group: ClassVar[str] = "mapping layers"

    decays: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        DECAYS,
        min_length=1,
        description="L1 weight decays of the mapping layers that join the networks (default: those of Table 1)",
    )


class EnsembleConfig(ComputeConfig):
    """`raycv ensemble`: what several networks give together."""

    group: ClassVar[str] = "combined units"

    readout_layer: str | None = Field(
        None, min_length=1, description="layer whose units are combined (default: the last before the logits)"
    )
    readout_images: Positive = Field(
        10_000, description="training images that a read-out of units is fitted on, at most; a fixed random choice"
    )


class MergeConfig(ComputeConfig):
    """`raycv merge`: several networks made one."""

    group: ClassVar[str] = "merging"

    pairs: tuple[str, ...] = Field(
        ("all",),
        min_length=1,
        description="networks to merge: all (every pair, and all together), or names with hyphens between them, "
        "net1-net2,net1-net2-net3",
    )
    alphas: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        min_length=1,
        description="shares of the second network of a pair",
    )
    matching: tuple[Literal["correlation", "information", "weights"], ...] = Field(
        ("correlation",),
        min_length=1,
        description="what brings units beside one another: their correlation, their mutual information, or the weights "
        "around them",
    )
    up_to: str | None = Field(
        None, min_length=1, description="merge only what comes before this layer, and it (default: whole networks)"
    )


class StatusConfig(StageConfig):
    """`raycv status`: what each stage of a run is doing or has done."""


class ShowConfig(StageConfig):
    """`raycv show`: the numbers in which a run has ended."""


class CleanConfig(StageConfig):
    """`raycv clean`: remove what stages that did not finish have left."""


class ExportConfig(StageConfig):
    """`raycv export`: the results of a run, without its weights and statistics."""

    to: str | None = Field(
        None, min_length=1, description="a new folder or prefix, such as s3://bucket/prefix, for the results"
    )
    card: bool = Field(
        False,
        description="also the networks, each as a folder that its own library reads, and model cards, as the Hugging "
        "Face Hub has them (README.md)",
    )


class CellsConfig(StageConfig):
    """In which conditions networks are trained that are compared."""

    group: ClassVar[str] = "cells"

    cells: tuple[NamedCell, ...] | None = Field(
        None,
        min_length=1,
        description=f"conditions in which networks are trained, each compared with another: {', '.join(NAMED)}; a file "
        f"given by --config can have others (default: all but same_order and no_augmentation)",
    )
    quick: bool = Field(
        False, description="a small attribution: width 8, 6 epochs of 4,000 images, where these are not given"
    )
    mapping: bool = Field(False, description=f"also the loss of mapping layers, at decay {MAPPED_DECAY:g}")

    @field_validator("cells")
    @classmethod
    def _belong_together(cls, given: tuple[NamedCell, ...] | None) -> tuple[NamedCell, ...] | None:
        names = [cell.name for cell in given or ()]
        for cell in given or ():
            if names.count(cell.name) > 1:
                raise ValueError(f"all must differ, and {cell.name} is there twice")
            if cell.against == cell.name or (cell.against and cell.against not in names):
                raise ValueError(f"{cell.name} is compared with {cell.against}, which is none of the others; add it")
        return given


class StudyConfig(TrainConfig, CollectConfig, AlignConfig):
    """`raycv study`: an ordinary run for every width and number of training images, and what grows with them."""

    widths: tuple[Positive, ...] = Field((6, 12, 18, 24), min_length=1, description="units in conv1, one run for each")
    images: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="numbers of training images, one run for each and width (default: all)"
    )

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.width is not None or self.train_images is not None or self.imports:
            raise ValueError("a study takes widths and images, not width, train-images, checkpoints or networks")
        if len(set(self.model)) > 1 or self.model[0] not in WIDTHS:
            raise ValueError(
                f"a study varies the width of one model, {' or '.join(WIDTHS)}; found {', '.join(self.model)}"
            )
        if len(self.seeds) < 2:
            raise ValueError("a study compares networks; give two or more seeds, for intervals three")
        for what, given in (("widths", self.widths), ("images", self.images or (1,))):
            if len(set(given)) < len(given):
                raise ValueError(f"the {what} must differ, found {', '.join(map(str, given))}")
        if len(self.widths) * len(self.images or (1,)) < 2:
            raise ValueError("a study needs several widths or several numbers of images")
        return self


class AttributeConfig(TrainConfig, CollectConfig, AlignConfig, CellsConfig):
    """`raycv attribute`: an ordinary run for every cell, and how much its networks converge beside another cell's."""

    @property
    def all_cells(self) -> tuple[NamedCell, ...]:
        """The cells that are asked for, or those that are there without being asked for."""
        return self.cells or tuple(map(NamedCell.model_validate, DEFAULT))

    def of_cell(self, cell: NamedCell, of: type[Settings], run: str) -> Settings:
        """The settings of one stage of the run of a cell. Raises ValidationError for settings that do not fit."""
        quick = {name: value for name, value in QUICK.items() if self.quick and getattr(self, name) is None}
        changes = quick | dict(cell.settings)
        if cell.is_untrained:
            changes |= {"checkpoints": (UNTRAINED,) * len(self.seeds), "keep_epochs": (), "train_images": None}
        return self.part(of, run=run, seeds=self.seeds, **changes)

    @model_validator(mode="after")
    def _cells_can_be_done(self) -> Self:
        if self.imports or self.fork_epoch or self.changed:
            given = next(iter(self.changed), "fork_epoch" if self.fork_epoch else "checkpoints or networks")
            raise ValueError(f"what the networks of a cell share is said by the cell; leave {given} out")
        if len(self.seeds) < LEAST_SEEDS:
            raise ValueError(
                f"an attribution needs {LEAST_SEEDS} seeds or more, for intervals over networks and two networks in "
                f"either half; found {len(self.seeds)}"
            )
        for cell in self.all_cells:
            try:
                self.of_cell(cell, TrainConfig, self.run)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
                reason = first["msg"].removeprefix("Value error, ")
                raise ValueError(f"cell {cell.name}: {where}{reason[0].lower()}{reason[1:]}") from None
        return self


class PlanConfig(RunConfig, CellsConfig):
    """`raycv plan`: what `raycv run` would do with the same flags, or with cells `raycv attribute`."""

    price_per_hour: Annotated[float, Field(gt=0)] | None = Field(
        None, description="what an hour of the cluster costs, to say what the stages would cost"
    )

    @property
    def attribution(self) -> AttributeConfig:
        """The settings of `raycv attribute` with the same flags. Raises ValidationError for those it does not take."""
        return self.part(AttributeConfig)

    @model_validator(mode="after")
    def _can_be_attributed(self) -> Self:
        if self.cells or self.quick:
            try:
                _ = self.attribution
            except ValidationError as error:
                raise ValueError(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from None
        return self
