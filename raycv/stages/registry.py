"""Every stage of a run, and what all others know of it: a new stage is a folder and a record here.

The command line with its help, `raycv run`, `plan`, `status`, `clean`, `export`, `figures` and the report go by these
records. What a stage does is named as "module:function" and imported when it is done, so that `--help`, a wrong flag
and `raycv status` need neither PyTorch nor Ray.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from raycv import config
from raycv.config import StageConfig
from raycv.errors import StageFailed, UserError
from raycv.progress import doing
from raycv.run import record, schema
from raycv.run.store import RunStore

PYTORCH = "PyTorch and Ray"
# Of the settings of a run: what it will be (`raycv.stages.intended`), which the first stage finds out.
INTENDED = "train.stage:intended"


@dataclass(frozen=True)
class Stage:
    """One stage: its command, what it comes after, what it writes and where its code is.

    Code is named as "module:function", the module below `raycv.stages`:

    - ``do(settings, store)`` does the stage, or returns at once where it is done; ``is_done(settings, store)`` beside
      it says whether it is. ``of_run``: whether `raycv run` does it; ``in_run`` are arguments that both then get.
    - ``needs(intended)`` gives the memory that the stage of an intended run takes, as a list of `raycv.memory.Need`;
      ``traffic(intended)`` a sentence on the bytes that it moves, or an empty one.
    - ``figures(subject)`` gives the figures that a run gets from the stage (`raycv.drawing.subject`).

    ``after``: the stages whose results it reads; None for those of all before it. ``files``: patterns of what it
    leaves beside its tables. ``scratch``: patterns of what it leaves where it does not finish, by what that is.
    ``reported``: tables that the report can do without, by what it then leaves out. ``loads``: what takes so long to
    load that it is said.
    """

    name: str
    settings: type[StageConfig]
    meaning: str
    do: str
    example: str = "--run runs/first"
    after: tuple[str, ...] | None = None
    of_run: bool = False
    in_run: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    scratch: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    traffic: str = ""
    figures: str = ""
    reported: Mapping[str, str] = field(default_factory=dict)
    checks_health: bool = False
    loads: str = PYTORCH

    @property
    def tables(self) -> list[str]:
        """The names of the tables that it writes."""
        return [table.name for table in schema.ALL if table.stage == self.name]

    def leaves(self, path: str) -> bool:
        """Whether this file of a run, no table, is the stage's."""
        return any(re.match(rf"(?:{pattern})(?=/|$)", path) for pattern in (*self.files, *self.scratch.values()))

    def is_done(self, settings: StageConfig, store: RunStore) -> bool:
        """Whether a run has what these settings ask for, as a part of `raycv run`."""
        module = self.do.partition(":")[0]
        return bool(loaded(f"{module}:is_done")(settings, store, **self.in_run))


STAGES = (
    Stage(
        "train",
        config.TrainConfig,
        "train the networks, or import trained ones",
        "train.stage:train",
        example="--run runs/wide --seeds 1,2 --width 24 --epochs 20",
        after=(),
        of_run=True,
        files=("networks",),
        scratch={"checkpoints of a training that did not finish": "networks/training"},
        needs="train.memory:planned",
        traffic="train.memory:traffic",
        figures="train.figures.plan:plan",
    ),
    Stage(
        "collect",
        config.CollectConfig,
        "pass the validation images through all networks, once",
        "collect.stage:collect",
        example="--run runs/first --actors 2",
        after=("train",),
        of_run=True,
        files=("statistics",),
        scratch={"partials of a pass": "statistics/[^/]+/partials"},
        needs="collect.planned:needs",
        traffic="collect.planned:traffic",
    ),
    Stage(
        "align",
        config.AlignConfig,
        "correlate and match the units of the networks",
        "align.stage:align",
        after=("collect",),
        of_run=True,
        needs="align.memory:planned",
        figures="align.figures.plan:plan",
        reported={"recurrence": "in how many networks each unit recurs"},
        checks_health=True,
    ),
    Stage(
        "sweep mapping",
        config.MappingSweepConfig,
        "predict units from a few units of another network",
        "mapping.stage:sweep",
        example="--run runs/first --solvers exact,sgd --units-used 4.7",
        after=("collect",),
        of_run=True,
        in_run={"solvers": ("exact",)},  # sgd takes as long as all other stages together
        scratch={"trials of a sweep that did not finish": "sweeps/mapping-[^/]+"},
        needs="mapping.memory:planned",
        figures="mapping.figures.plan:plan",
        reported={"mapping_units": "what predicts each unit (mapping layers)"},
    ),
    Stage(
        "sweep clusters",
        config.ClusterSweepConfig,
        "cluster the units of two networks, for several k",
        "clusters.stage:sweep",
        example="--run runs/first --k 10,20 --thresholds 0.2,0.3",
        after=("collect",),
        of_run=True,
        scratch={"trials of a sweep that did not finish": "sweeps/clusters-[^/]+"},
        needs="clusters.memory:planned",
        figures="clusters.figures.plan:plan",
        reported={"cluster_members": "clusters of units"},
    ),
    Stage(
        "patches",
        config.PatchesConfig,
        "show what each unit responds to most, and why",
        "patches.stage:patches",
        after=("collect",),
        of_run=True,
        scratch={"patches drawn by a stage that did not finish": "patches-[^/]+"},
        needs="patches.memory:planned",
        figures="patches.figures.plan:plan",
        reported={
            "patch_pictures": "the patches that drive each unit",
            "sampled_activations": "how units respond to a sample of the images",
        },
    ),
    Stage(
        "figures",
        config.FiguresConfig,
        "draw the paper's figures",
        "figures.stage:figures",
        of_run=True,
        files=("figures",),
        needs="figures.memory:planned",
        loads="",
    ),
    Stage(
        "report",
        config.ReportConfig,
        "write the report, one HTML file",
        "report.stage:report",
        of_run=True,
        files=(r"report\.html",),
        loads="",
    ),
    # Stages for a finished run, of which `raycv run` does none; figures and report show what they have found.
    Stage(
        "prune",
        config.PruneConfig,
        "remove units, and see what it costs",
        "prune.stage:prune",
        example="--run runs/first --fractions 0.5",
        figures="prune.figures.plan:plan",
    ),
    Stage(
        "ablate",
        config.AblateConfig,
        "remove matched, unmatched, recurring and lonely units",
        "ablate.stage:ablate",
        figures="ablate.figures.plan:plan",
    ),
    Stage(
        "ensemble",
        config.EnsembleConfig,
        "let networks vote, and put the units of two of them together",
        "ensemble.stage:ensemble",
        figures="ensemble.figures.plan:plan",
    ),
    Stage(
        "stitch",
        config.StitchConfig,
        "join the first layers of one network with the last of another",
        "stitch.stage:stitch",
        figures="stitch.figures.plan:plan",
    ),
    Stage(
        "merge",
        config.MergeConfig,
        "make several networks one, with their units matched",
        "merge.stage:merge",
        example="--run runs/first --pairs net1-net2",
        files=("merges",),
        figures="merge.figures.plan:plan",
    ),
)

OF_RUN = tuple(stage for stage in STAGES if stage.of_run)
AFTER_RUN = tuple(stage for stage in STAGES if not stage.of_run)
NAMES = tuple(stage.name for stage in STAGES)
BY_NAME = {stage.name: stage for stage in STAGES}


def loaded(code: str, what: str = "") -> Callable[..., Any]:
    """The function that "module:function" names, the module below `raycv.stages`; says that it loads ``what``."""
    module, _, name = code.partition(":")
    with doing(f"loading {what}") if what else contextlib.nullcontext():
        function: Callable[..., Any] = getattr(import_module(f"raycv.stages.{module}"), name)
    return function


def do(stage: Stage, settings: StageConfig, store: RunStore, **more: Any) -> None:
    """Run one stage. Failures are recorded in run.json; a user's mistake leaves the run as it is."""
    try:
        function = loaded(stage.do, stage.loads)
        function(settings, store, **more)
    except UserError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, StageFailed) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(UserError):
            record.fail(store, stage.name, said)
        raise
