"""The settings: one model per stage, and RunConfig for all stages.

Each field is a flag (``--shard-size 512``), an environment variable (``RAYCV_SHARD_SIZE=512``) and a key of the YAML
file given by ``--config``; `raycv.settings` reads them. The class in which a field stands names its group in the help.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from raycv.networks.spec import LARGEST_SEED, WIDTHS
from raycv.paper import CLUSTERS, CLUSTERS_FIRST, DECAYS, NODES_FIRST, THRESHOLD, UNITS_USED

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Hyperparameters:
    """Training settings used where the user gives none."""

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str


SMALL = Hyperparameters(epochs=12, batch_size=64, learning_rate=0.05, schedule="one-cycle")  # small-alexnet
PAPERS = Hyperparameters(epochs=90, batch_size=256, learning_rate=0.01, schedule="step")  # Caffe's reference network


class StageConfig(BaseModel):
    """Settings of every stage."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    group: ClassVar[str] = "run"

    run: str = Field("runs/default", min_length=1, description="folder of the run: a local path or s3://bucket/prefix")
    config: str | None = Field(None, min_length=1, description="YAML file with any of these settings")


class DataConfig(StageConfig):
    """Which images."""

    group: ClassVar[str] = "images"

    data: str = Field(
        "cifar10-subset",
        min_length=1,
        description="images: cifar10-subset (shipped with raycv), a folder or s3:// prefix of Hugging Face style "
        "Parquet, an ImageFolder tree, or torchvision's CIFAR10 root",
    )
    image_column: str | None = Field(
        None, min_length=1, description="image column of the Parquet files; found automatically if not given"
    )
    label_column: str | None = Field(
        None, min_length=1, description="label column of the Parquet files; found automatically if not given"
    )


class ComputeConfig(StageConfig):
    """On which processors."""

    group: ClassVar[str] = "processors"

    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="where networks run; auto uses GPUs if the cluster has any, gpu also asks an autoscaling "
        "cluster for GPUs that it does not have yet",
    )


class NetworksConfig(StageConfig):
    """Which networks."""

    group: ClassVar[str] = "networks"

    seeds: tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED)], ...] = Field(
        (1, 2, 3, 4), min_length=1, description="seeds; one network is trained per seed"
    )
    model: tuple[str, ...] = Field(
        ("small-alexnet",),
        min_length=1,
        description="small-alexnet, alexnet (the paper's) or a torchvision model; one for all networks or one each",
    )
    width: tuple[Positive, ...] | None = Field(
        None,
        min_length=1,
        description="units in conv1 of an AlexNet; one number for all networks or one per network "
        f"(default {WIDTHS['small-alexnet']}; alexnet: {WIDTHS['alexnet']})",
    )
    layers: tuple[str, ...] | None = Field(
        None, min_length=1, description="layers to compare, as module paths (default for the AlexNets: conv1 to fc8)"
    )
    checkpoints: tuple[str, ...] = Field(
        (),
        description="import these trained networks (.safetensors or PyTorch state dicts) instead of training",
    )

    @field_validator("seeds", "layers")
    @classmethod
    def _differ(cls, given: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        twice = [value for value in given or () if (given or ()).count(value) > 1]
        if twice:
            raise ValueError(f"all must differ, and {twice[0]} is there twice")
        return given


class TrainConfig(NetworksConfig, DataConfig, ComputeConfig):
    """`raycv train`: several networks that differ only in their seeds."""

    group: ClassVar[str] = "training"

    train_images: Positive | None = Field(
        None,
        description="train on this many of the training images, a fixed random choice; a smaller one is part of a "
        "larger one (default: all)",
    )
    epochs: Positive | None = Field(
        None, description=f"passes over the training images (default {SMALL.epochs}; alexnet: {PAPERS.epochs})"
    )
    batch_size: Positive | None = Field(
        None, description=f"images per step (default {SMALL.batch_size}; alexnet: {PAPERS.batch_size})"
    )
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description=f"highest learning rate (default {SMALL.learning_rate}; alexnet: {PAPERS.learning_rate})"
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

    @model_validator(mode="after")
    def _one_or_each(self) -> Self:
        if self.checkpoints and "seeds" not in self.model_fields_set:
            object.__setattr__(self, "seeds", tuple(range(1, len(self.checkpoints) + 1)))
        for what, given in (("model", self.model), ("width", self.width or (1,))):
            if len(given) not in (1, len(self.seeds)):
                raise ValueError(
                    f"{what} has {len(given)} values for {len(self.seeds)} networks; give one value, or one per network"
                )
        if self.checkpoints and len(self.checkpoints) != len(self.seeds):
            raise ValueError(f"there are {len(self.checkpoints)} checkpoints for {len(self.seeds)} seeds")
        if self.checkpoints and (self.keep_epochs or self.fork_epoch):
            raise ValueError("keep_epochs and fork_epoch are for networks that are trained here, not for checkpoints")
        if self.fork_epoch and len({*self.model}) * len({*(self.width or (1,))}) > 1:
            raise ValueError("fork_epoch is for networks of one model and width, which can share their first epochs")
        return self


class CollectConfig(DataConfig, ComputeConfig):
    """`raycv collect`: one pass of the validation images through all networks at once."""

    group: ClassVar[str] = "pass"

    shard_size: Positive = Field(
        256, description="images per shard; a shard is the unit of work and is counted once or not at all"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the forward passes; statistics are always summed in float32 and float64"
    )
    actors: Positive | None = Field(
        None, description="number of actors that hold the networks (default: one per core or GPU, as memory allows)"
    )


class AlignConfig(StageConfig):
    """`raycv align`: correlations and matchings from the statistics."""


class PatchesConfig(ComputeConfig):
    """`raycv patches`: pictures of what the units see and of what drives them."""


class FiguresConfig(StageConfig):
    """`raycv figures`: the paper's figures, drawn from the tables."""


class ReportConfig(StageConfig):
    """`raycv report`: one HTML file with the figures and every unit's partners."""


class ClusterSweepConfig(StageConfig):
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


class MappingSweepConfig(StageConfig):
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


class CleanConfig(StageConfig):
    """`raycv clean`: remove what stages that did not finish have left."""


class ExportConfig(StageConfig):
    """`raycv export`: the results of a run, without its weights and statistics."""

    to: str | None = Field(None, min_length=1, description="a new folder, or s3://bucket/prefix, for the results")


class PlanConfig(RunConfig):
    """`raycv plan`: what `raycv run` would do with the same flags."""

    price_per_hour: Annotated[float, Field(gt=0)] | None = Field(
        None, description="what an hour of the cluster costs, to say what the stages would cost"
    )


class StudyConfig(TrainConfig, CollectConfig, AlignConfig):
    """`raycv study`: an ordinary run for every width and number of training images, and what grows with them."""

    widths: tuple[Positive, ...] = Field((6, 12, 18, 24), min_length=1, description="units in conv1, one run for each")
    images: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="numbers of training images, one run for each and width (default: all)"
    )

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if self.width is not None or self.train_images is not None or self.checkpoints:
            raise ValueError("a study takes widths and images, not width, train-images or checkpoints")
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
