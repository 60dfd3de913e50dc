"""The commands of `raycv`: the stages, and what is done with whole runs."""

from __future__ import annotations

from dataclasses import dataclass

from raycv import config
from raycv.config import CommandConfig
from raycv.stages.registry import NAMES, OF_RUN, PYTORCH, STAGES


@dataclass(frozen=True)
class Command:
    """One command: its settings, what it does, the help text that says so, and flags as one might give them.

    ``do`` names the function that does it, as `raycv.stages.registry.Stage` names code; without it the command does the
    stage of its name. ``stages`` names the stages of which it is the only driver meanwhile; ``section`` is its place in
    the help; ``loads`` what takes so long to load that it is said. ``kinds``: of folders that it takes, as
    `raycv.run.record.check_kind` has them.
    """

    settings: type[CommandConfig]
    meaning: str
    do: str = ""
    example: str = "--run runs/first"
    checks_health: bool = False
    stages: tuple[str, ...] = ()
    section: str = "Commands"
    loads: str = ""
    kinds: tuple[str, ...] = ("",)


COMMANDS = {
    "run": Command(
        config.RunConfig,
        "run all stages in order",
        "run.stage:run",
        checks_health=True,
        stages=tuple(stage.name for stage in OF_RUN),
    ),
    "study": Command(
        config.StudyConfig,
        "compare networks of several widths and numbers of training images",
        "study.stage:study",
        "--run runs/study --widths 6,12,24",
        stages=("study",),
        kinds=("study",),
    ),
    "attribute": Command(
        config.AttributeConfig,
        "train networks that share labels, images, classes or weights, and see what makes them converge",
        "attribute.stage:attribute",
        "--run runs/attribution --quick",
        stages=("attribute",),
        kinds=("attribution",),
    ),
    "prepare": Command(
        config.PrepareConfig,
        "decode and resize images once, to be read fast and often",
        "prepare.stage:prepare",
        "--data imagenet --to s3://bucket/imagenet-256",
        stages=("prepare",),
        loads=PYTORCH,
    ),
    "status": Command(
        config.StatusConfig,
        "show the state of each stage of a run",
        "status.stage:status",
    ),
    "show": Command(
        config.ShowConfig,
        "print a run's final numbers again",
        "show.stage:show",
        checks_health=True,
        kinds=("", "attribution"),
    ),
    "plan": Command(
        config.PlanConfig,
        "say what `raycv run` would do, with the same flags",
        "plan.stage:plan",
        loads="PyTorch",
        kinds=("", "attribution"),
    ),
    "clean": Command(
        config.CleanConfig,
        "remove what stages that did not finish have left",
        "clean.stage:clean",
        stages=NAMES,
    ),
    "export": Command(
        config.ExportConfig,
        "copy tables, figures and report, and with --card networks and model cards",
        "export.stage:export",
        "--run runs/first --to s3://bucket/first",
    ),
    **{
        stage.name: Command(
            stage.settings,
            stage.meaning,
            example=stage.example,
            checks_health=stage.checks_health,
            stages=(stage.name,),
            section="Commands" if stage.of_run else "After a run",
        )
        for stage in STAGES
    },
}
