"""What a user can set: one model per stage, RunConfig for all of them.

Each field is a flag (``--shard-size 512``), an environment variable (``RAYCV_SHARD_SIZE=512``) and a key of a YAML
file named by ``--config``. Flags win over the environment, the environment over the file, the file over what the run
was last given (run.json), that over the defaults.
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
from raycv.paper import CLUSTERS, CLUSTERS_FIRST, DECAYS, THRESHOLD, UNITS_USED

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Hyperparameters:
    """What training takes where the settings do not say."""

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str


SMALL = Hyperparameters(epochs=12, batch_size=64, learning_rate=0.05, schedule="one-cycle")  # small-alexnet
PAPERS = Hyperparameters(epochs=90, batch_size=256, learning_rate=0.01, schedule="step")  # Caffe's reference network


class StageConfig(BaseSettings):
    """What every stage is told."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="RAYCV_",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
    )

    run: str = Field("runs/default", min_length=1, description="the run's folder: a local path or s3://bucket/prefix")
    config: str | None = Field(None, description="a YAML file with any of these settings")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` has gathered: made by itself, a model takes its defaults and nothing of the environment."""
        return (init_settings,)


class DataConfig(StageConfig):
    """Which images."""

    data: str = Field(
        "cifar10-subset",
        description="the images: cifar10-subset (shipped with raycv), a folder or s3:// prefix of Hugging Face style "
        "Parquet, an ImageFolder tree, or torchvision's CIFAR10 root",
    )
    image_column: str | None = Field(None, description="the image column of the Parquet; found when not named")
    label_column: str | None = Field(None, description="the label column of the Parquet; found when not named")


class ComputeConfig(StageConfig):
    """On which processors."""

    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="gpu asks an autoscaling cluster for GPUs it does not have yet"
    )


class TrainConfig(DataConfig, ComputeConfig):
    """`raycv train`: several networks that differ in their seeds alone."""

    seeds: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1, description="one network is trained for each seed")
    model: tuple[str, ...] = Field(
        ("small-alexnet",),
        min_length=1,
        description="small-alexnet, alexnet (the paper's) or a torchvision model; one for all networks or one for each",
    )
    width: tuple[Positive, ...] | None = Field(
        None,
        description="conv1 units of an AlexNet; one for all networks or one for each "
        f"(default {WIDTHS['small-alexnet']}; alexnet: {WIDTHS['alexnet']})",
    )
    layers: tuple[str, ...] | None = Field(
        None, description="layers to compare, as module paths; conv1 to fc8 for the AlexNets"
    )
    checkpoints: tuple[str, ...] = Field(
        (),
        description="bring in these trained networks (.safetensors or PyTorch state dicts) instead of training",
    )
    epochs: Positive | None = Field(
        None, description=f"passes over the training images (default {SMALL.epochs}; alexnet: {PAPERS.epochs})"
    )
    batch_size: Positive | None = Field(
        None, description=f"images per step (default {SMALL.batch_size}; alexnet: {PAPERS.batch_size})"
    )
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description=f"the highest learning rate (default {SMALL.learning_rate}; alexnet: {PAPERS.learning_rate})"
    )
    schedule: Literal["one-cycle", "step"] | None = Field(
        None,
        description=f"of the learning rate (default {SMALL.schedule}; alexnet: {PAPERS.schedule}, which "
        "divides it by ten after each 20 of 90 epochs)",
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="of the gradient")
    weight_decay: Annotated[float, Field(ge=0)] = Field(5e-4, description="L2 penalty on weights, not on biases")
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
                    f"{what} names {len(given)} values for {len(self.seeds)} networks; give one or one each"
                )
        if self.checkpoints and len(self.checkpoints) != len(self.seeds):
            raise ValueError(f"there are {len(self.checkpoints)} checkpoints for {len(self.seeds)} seeds")
        return self


class CollectConfig(DataConfig, ComputeConfig):
    """`raycv collect`: one pass of the validation images through all networks at once."""

    shard_size: Positive = Field(256, description="images per shard, the unit of work that is never half counted")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the forward passes; statistics are summed in float32 and float64 whatever it is"
    )
    actors: Positive | None = Field(None, description="actors that hold the networks; one per core or GPU if not given")


class AlignConfig(StageConfig):
    """`raycv align`: correlations and matchings from the statistics."""


class PatchesConfig(ComputeConfig):
    """`raycv patches`: pictures of what the units see and what drives them."""


class FiguresConfig(StageConfig):
    """`raycv figures`: the pictures, from the tables alone."""


class ReportConfig(StageConfig):
    """`raycv report`: one HTML file with the figures and every unit's partners."""


class ClusterSweepConfig(StageConfig):
    """`raycv sweep clusters`: spectral clusters of both networks' units, for several k and thresholds."""

    k: tuple[Positive, ...] = Field(
        (),
        description="numbers of clusters beside the eigengap's and the paper's "
        f"({CLUSTERS_FIRST} in the first layer, {CLUSTERS} in others)",
    )
    thresholds: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (THRESHOLD,),
        min_length=1,
        description=f"correlations up to it make no edge (default {THRESHOLD}, the paper's in S.3.4)",
    )


class MappingSweepConfig(StageConfig):
    """`raycv sweep mapping`: units of one network predicted from a few units of another, for several L1 penalties."""

    decays: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        DECAYS,
        min_length=1,
        description="the paper's weight decays (default its Table 1: 0, 1e-5, 1e-4, 1e-3, 10^-2.6, 1e-2, 1e-1)",
    )
    solvers: Annotated[tuple[Literal["exact", "sgd", "streamed"], ...], Field(min_length=1)] | None = Field(
        None,
        description="exact (the optimum), sgd (the paper's training in expectation), streamed (that training on the "
        "networks' activations, slow); exact and sgd if not given, in `raycv run` exact alone",
    )
    units_used: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="also find the decay at which a unit is predicted by this many on average "
        f"(the paper: {UNITS_USED})",
    )
    loss: Annotated[float, Field(gt=0, lt=0.5)] | None = Field(
        None, description="also find the decay with this loss (0.5 predicts nothing)"
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


Config = TypeVar("Config", bound=StageConfig)


class _Flags(CliSettingsSource[Any]):
    """Flags whose help says how several values are written: int,... and not tuple[int,...]."""

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

    Raises UserError naming the setting, what was found and what is allowed; SystemExit for ``--help``.
    """
    # pydantic-settings gives a flag of one letter one dash; with two it is understood as well.
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
        raise UserError(f"The settings file {path} holds no settings: expected lines such as `epochs: 12`.")
    # One file may serve all stages: a key that any stage knows is allowed everywhere.
    known = RunConfig.model_fields
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
        return f"The settings do not fit together: {message}."
    name = str(first["loc"][0])
    field = model.model_fields.get(name)
    meaning = f" ({field.description})" if field is not None and field.description else ""
    found = first["input"]
    return f"--{name.replace('_', '-')} was given {found!r}: {message[0].lower()}{message[1:]}{meaning}."
