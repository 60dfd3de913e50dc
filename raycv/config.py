"""The settings: one model per stage, and RunConfig for all stages.

Each field is a flag (``--shard-size 512``), an environment variable (``RAYCV_SHARD_SIZE=512``) and a key of the YAML
file given by ``--config``. In order of precedence: flags, environment, YAML file, the settings that the run was last
given (run.json), defaults.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from raycv.errors import UserError
from raycv.networks.spec import WIDTHS
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


class StageConfig(BaseSettings):
    """Settings of every stage."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="RAYCV_",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
    )

    run: str = Field("runs/default", min_length=1, description="folder of the run: a local path or s3://bucket/prefix")
    config: str | None = Field(None, description="YAML file with any of these settings")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` has gathered: a model made directly uses its defaults and ignores the environment."""
        return (init_settings,)


class DataConfig(StageConfig):
    """Which images."""

    data: str = Field(
        "cifar10-subset",
        description="images: cifar10-subset (shipped with raycv), a folder or s3:// prefix of Hugging Face style "
        "Parquet, an ImageFolder tree, or torchvision's CIFAR10 root",
    )
    image_column: str | None = Field(
        None, description="image column of the Parquet files; found automatically if not given"
    )
    label_column: str | None = Field(
        None, description="label column of the Parquet files; found automatically if not given"
    )


class ComputeConfig(StageConfig):
    """On which processors."""

    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="where networks run; auto uses GPUs if the cluster has any, gpu also asks an autoscaling "
        "cluster for GPUs that it does not have yet",
    )


class TrainConfig(DataConfig, ComputeConfig):
    """`raycv train`: several networks that differ only in their seeds."""

    seeds: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1, description="seeds; one network is trained per seed")
    model: tuple[str, ...] = Field(
        ("small-alexnet",),
        min_length=1,
        description="small-alexnet, alexnet (the paper's) or a torchvision model; one for all networks or one each",
    )
    width: tuple[Positive, ...] | None = Field(
        None,
        description="units in conv1 of an AlexNet; one number for all networks or one per network "
        f"(default {WIDTHS['small-alexnet']}; alexnet: {WIDTHS['alexnet']})",
    )
    layers: tuple[str, ...] | None = Field(
        None, description="layers to compare, as module paths (default for the AlexNets: conv1 to fc8)"
    )
    checkpoints: tuple[str, ...] = Field(
        (),
        description="import these trained networks (.safetensors or PyTorch state dicts) instead of training",
    )
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

    @model_validator(mode="after")
    def _one_or_each(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"the seeds must differ, found {', '.join(map(str, self.seeds))}")
        if self.checkpoints and "seeds" not in self.model_fields_set:
            object.__setattr__(self, "seeds", tuple(range(1, len(self.checkpoints) + 1)))
        for what, given in (("model", self.model), ("width", self.width or (1,))):
            if len(given) not in (1, len(self.seeds)):
                raise ValueError(
                    f"{what} has {len(given)} values for {len(self.seeds)} networks; give one value, or one per network"
                )
        if self.checkpoints and len(self.checkpoints) != len(self.seeds):
            raise ValueError(f"there are {len(self.checkpoints)} checkpoints for {len(self.seeds)} seeds")
        return self


class CollectConfig(DataConfig, ComputeConfig):
    """`raycv collect`: one pass of the validation images through all networks at once."""

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


Config = TypeVar("Config", bound=StageConfig)


class _Flags(CliSettingsSource[Any]):
    """Flags whose help shows how to write several values: int,... instead of tuple[int,...]."""

    def _metavar_format(self, obj: Any) -> str:
        return re.sub(r"tuple\[(.+),\.\.\.\]", r"\1,...", super()._metavar_format(obj))


def load(
    model: type[Config],
    arguments: Sequence[str],
    stored: Mapping[str, Any] | None = None,
    *,
    command: str = "raycv",
) -> Config:
    """The settings of ``model`` from flags, environment, YAML file and ``stored`` (what the run was given before).

    Raises UserError, which names the setting, what was given and what is allowed; SystemExit for ``--help``.
    """
    # pydantic-settings knows one-letter flags with one dash only; accept two dashes as well.
    arguments = [a[1:] if a.startswith("--") and len(a.split("=")[0]) == 3 else a for a in arguments]
    file = _yaml_settings(model, arguments)
    kept = {key: value for key, value in (stored or {}).items() if key in model.model_fields}
    try:
        flags = _Flags(model, cli_parse_args=list(arguments), cli_prog_name=command)()
        return model(**{**kept, **file, **EnvSettingsSource(model)(), **flags})
    except ValidationError as error:
        raise UserError(_sentence(error, model)) from None
    except SettingsError as error:
        reason = str(error).removeprefix("error parsing CLI: ")
        raise UserError(f"{command}: {reason}; `{command} --help` lists the flags.") from None


def _yaml_settings(model: type[StageConfig], arguments: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", nargs="?")
    path = parser.parse_known_args(list(arguments))[0].config
    if path is None:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise UserError(f"Could not read the settings file {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UserError(f"The settings file {path} is not YAML.") from None
    if not isinstance(content, dict):
        raise UserError(f"The settings file {path} has no settings: expected lines such as `epochs: 12`.")
    # One file may serve all stages, so a key of any stage is allowed.
    known = RunConfig.model_fields | StudyConfig.model_fields
    unknown = [key for key in content if key not in known]
    if unknown:
        raise UserError(
            f"The settings file {path} has an unknown key {unknown[0]!r}; "
            f"allowed are {', '.join(name for name in known if name != 'config')}."
        )
    return {key: value for key, value in content.items() if key in model.model_fields}


def _sentence(error: ValidationError, model: type[StageConfig]) -> str:
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"The settings contradict each other: {message}."
    name = str(first["loc"][0])
    field = model.model_fields.get(name)
    meaning = f" ({field.description})" if field is not None and field.description else ""
    found = first["input"]
    return f"--{name.replace('_', '-')} was given {found!r}: {message[0].lower()}{message[1:]}{meaning}."
