"""`raycv STAGE [flags]` runs one stage, `raycv run` all of them in order."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import raycv
from raycv.config import (
    AlignConfig,
    ClusterSweepConfig,
    CollectConfig,
    FiguresConfig,
    MappingSweepConfig,
    PatchesConfig,
    ReportConfig,
    RunConfig,
    StageConfig,
    StudyConfig,
    TrainConfig,
    load,
)
from raycv.errors import StageFailed, UserError
from raycv.progress import say
from raycv.run import record, schema, tables
from raycv.run.store import RunStore


def _train(config: TrainConfig, store: RunStore) -> None:
    from raycv.stages.train.stage import train

    train(config, store)


def _collect(config: CollectConfig, store: RunStore) -> None:
    from raycv.stages.collect.stage import collect

    collect(config, store)


def _align(config: AlignConfig, store: RunStore) -> None:
    from raycv.stages.align.stage import align

    align(config, store)


def _sweep_clusters(config: ClusterSweepConfig, store: RunStore) -> None:
    from raycv.stages.clusters.stage import sweep

    sweep(config, store)


def _sweep_mapping(config: MappingSweepConfig, store: RunStore) -> None:
    from raycv.stages.mapping.stage import sweep

    if isinstance(config, RunConfig):  # sgd takes as long as all other stages together
        sweep(config, store, solvers=("exact",))
    else:
        sweep(config, store)


def _patches(config: PatchesConfig, store: RunStore) -> None:
    from raycv.stages.patches.stage import patches

    patches(config, store)


def _figures(config: FiguresConfig, store: RunStore) -> None:
    from raycv.stages.align.figures import plan as align
    from raycv.stages.clusters.figures import plan as clusters
    from raycv.stages.figures.stage import figures
    from raycv.stages.mapping.figures import plan as mapping
    from raycv.stages.patches.figures import plan as patches
    from raycv.stages.train.figures import plan as train

    figures(config, store, [room.plan for room in (train, align, mapping, clusters, patches)])


def _report(config: ReportConfig, store: RunStore) -> None:
    from raycv.stages.report.stage import report

    report(config, store)


@dataclass(frozen=True)
class Command:
    """One command: its settings, what it does, and the help text that says so."""

    settings: type[StageConfig]
    do: Callable[[Any, RunStore], None]
    meaning: str


# PyTorch and Ray are imported when a stage runs, so that --help and a wrong flag answer at once.
STAGES = {
    "train": Command(TrainConfig, _train, "train the networks, or import trained ones"),
    "collect": Command(CollectConfig, _collect, "pass the validation images through all networks, once"),
    "align": Command(AlignConfig, _align, "correlate and match the units of the networks"),
    "sweep mapping": Command(MappingSweepConfig, _sweep_mapping, "predict units from a few units of another network"),
    "sweep clusters": Command(ClusterSweepConfig, _sweep_clusters, "cluster the units of two networks, for several k"),
    "patches": Command(PatchesConfig, _patches, "show what each unit responds to most, and why"),
    "figures": Command(FiguresConfig, _figures, "draw the paper's figures"),
    "report": Command(ReportConfig, _report, "write the report, one HTML file"),
}


def _run(config: RunConfig, store: RunStore) -> None:
    began = time.time()
    for stage in STAGES.values():
        stage.do(config, store)
    written = record.read(store)["stages"]
    spent = {
        f"{stage} {what}" if what != stage else stage: seconds
        for stage in STAGES
        for what, seconds in written[stage].get("seconds", {}).items()
    }
    total = sum(spent.values())
    shares = ", ".join(f"{what} {100 * seconds / total:.0f}%" for what, seconds in spent.items() if seconds >= 0.05)
    top1 = written["train"].get("validation_top1")
    if top1:
        say("validation top-1: " + ", ".join(f"{net} {100 * value:.2f}%" for net, value in top1.items()))
    say(f"share of the time: {shares}")
    say(f"run: finished in {time.time() - began:.0f} s; tables in {store.locate('tables')}:")
    for name in tables.names(store):
        say(f"    pandas.read_parquet({store.locate(f'tables/{name}')!r})")
    say("figures:")
    for path in store.list("figures"):
        say(f"    {store.locate(path)}")
    say(f"report: {store.locate('report.html')}")


def _study(config: StudyConfig, store: RunStore) -> None:
    from raycv.stages.study.stage import study

    study(config, store, [(STAGES[name].settings, STAGES[name].do) for name in ("train", "collect", "align")])


COMMANDS = {
    "run": Command(RunConfig, _run, "run all stages in order"),
    "study": Command(StudyConfig, _study, "compare networks of several widths and numbers of training images"),
    **STAGES,
}


def _usage() -> str:
    lines = ["usage: raycv COMMAND [--run RUN] [flags]", "", "commands:"]
    lines += [f"  {name:<16}{command.meaning}" for name, command in COMMANDS.items()]
    lines += [f"  {'tables':<16}print what every table and column means", ""]
    lines += [
        "`raycv COMMAND --help` lists the flags, `raycv --version` prints the version. Every flag is also a key of a"
    ]
    lines += ["YAML file (--config FILE) and an environment variable (RAYCV_...)."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done; 1: a stage failed, and the same command continues it; 2: a mistake that the user can correct; 130:
    stopped.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = 2 if given[:1] == ["sweep"] else 1
    command, rest = " ".join(given[:words]), given[words:]
    if command in ("", "-h", "--help"):
        say(_usage())
        return 0 if command else 2
    if command == "--version":
        say(f"raycv {raycv.__version__}")
        return 0
    if command == "tables":
        say(schema.describe())
        return 0
    try:
        _do(command, rest)
    except UserError as error:
        print(f"raycv: {error}", file=sys.stderr, flush=True)
        return 2
    except StageFailed as error:
        print(f"raycv: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("raycv: stopped; run the same command again to continue", file=sys.stderr, flush=True)
        return 130
    return 0


def _do(command: str, flags: Sequence[str]) -> None:
    """Run ``command`` with the settings given by ``flags`` and those stored in the run."""
    if command not in COMMANDS:
        raise UserError(f"There is no command {command!r}; choose one of {', '.join(COMMANDS)}, tables.")
    # Settings stored in the run replace flags that are not given, so find the run first.
    named = load(StageConfig, _only(flags, "--run", "--config"), command=f"raycv {command}")
    store = RunStore(named.run)
    chosen = COMMANDS[command]
    config = load(chosen.settings, flags, record.read(store)["config"], command=f"raycv {command}")
    chosen.do(config, store)


def _only(arguments: Sequence[str], *flags: str) -> list[str]:
    """The given flags and their values, without the others."""
    kept: list[str] = []
    for place, argument in enumerate(arguments):
        if argument in flags:
            kept += arguments[place : place + 2]
        elif argument.startswith(tuple(f"{flag}=" for flag in flags)):
            kept.append(argument)
    return kept


if __name__ == "__main__":
    sys.exit(main())
