"""`raycv STAGE [flags]`: each stage alone, or all of them with `raycv run`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from raycv import record, tables
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
    TrainConfig,
    load,
)
from raycv.errors import UserError
from raycv.progress import say
from raycv.store import RunStore

Stage = Callable[[Any, RunStore], None]


def _train(config: TrainConfig, store: RunStore) -> None:
    from raycv.training import train

    train(config, store)


def _collect(config: CollectConfig, store: RunStore) -> None:
    from raycv.collect.stage import collect

    collect(config, store)


def _align(config: AlignConfig, store: RunStore) -> None:
    from raycv.align import align

    align(config, store)


def _sweep_clusters(config: ClusterSweepConfig, store: RunStore) -> None:
    from raycv.cluster_sweep import sweep

    sweep(config, store)


def _sweep_mapping(config: MappingSweepConfig, store: RunStore) -> None:
    from raycv.mapping_sweep import sweep

    if isinstance(config, RunConfig):  # the paper's training takes as long as everything else
        sweep(config, store, solvers=("exact",))
    else:
        sweep(config, store)


def _patches(config: PatchesConfig, store: RunStore) -> None:
    from raycv.patches import patches

    patches(config, store)


def _figures(config: FiguresConfig, store: RunStore) -> None:
    from raycv.pictures import figures

    figures(config, store)


def _report(config: ReportConfig, store: RunStore) -> None:
    from raycv.report.stage import report

    report(config, store)


# Stages import PyTorch and Ray when they run, so that --help and a wrong flag answer at once.
STAGES: dict[str, tuple[type[StageConfig], Stage, str]] = {
    "train": (TrainConfig, _train, "train the networks, or bring in trained ones"),
    "collect": (CollectConfig, _collect, "one pass of the validation images through all networks"),
    "align": (AlignConfig, _align, "correlations and matchings, from the statistics of the pass"),
    "sweep mapping": (MappingSweepConfig, _sweep_mapping, "units predicted from a few of another network's"),
    "sweep clusters": (ClusterSweepConfig, _sweep_clusters, "spectral clusters of two networks' units, for several k"),
    "patches": (PatchesConfig, _patches, "pictures of what the units see and what drives them"),
    "figures": (FiguresConfig, _figures, "draw the figures, from the tables"),
    "report": (ReportConfig, _report, "write one HTML file to look at, from tables and figures"),
}


def _run(config: RunConfig, store: RunStore) -> None:
    began = time.time()
    for _, stage, _ in STAGES.values():
        stage(config, store)
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
    say(f"share of time: {shares}")
    say(f"run: finished in {time.time() - began:.0f} s; tables in {store.locate('tables')}:")
    for path in sorted({path.split("/")[1] for path in store.list("tables")}):
        say(f"    pandas.read_parquet({store.locate(f'tables/{path}')!r})")
    say("figures:")
    for path in store.list("figures"):
        say(f"    {store.locate(path)}")
    say(f"report: {store.locate('report.html')}")


COMMANDS: dict[str, tuple[type[StageConfig], Stage, str]] = {
    "run": (RunConfig, _run, "all stages in order"),
    **STAGES,
}


def _usage() -> str:
    lines = ["usage: raycv COMMAND [--run RUN] [flags]", "", "commands:"]
    lines += [f"  {name:<16}{meaning}" for name, (_, _, meaning) in COMMANDS.items()]
    lines += [f"  {'tables':<16}what every table and column means", ""]
    lines += ["`raycv COMMAND --help` lists the flags. Every flag is also a key of a YAML file (--config FILE) and an"]
    lines += ["environment variable (RAYCV_...)."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 for a mistake a user can mend."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = 2 if given[:1] == ["sweep"] else 1
    command, rest = " ".join(given[:words]), given[words:]
    if command in ("", "-h", "--help"):
        say(_usage())
        return 0 if command else 2
    if command == "tables":
        say(tables.describe())
        return 0
    try:
        if command not in COMMANDS:
            raise UserError(f"There is no command {command!r}; choose one of {', '.join(COMMANDS)}, tables.")
        model, stage, _ = COMMANDS[command]
        # The run named by the flags may remember its settings; they stand in for flags not given.
        named = load(StageConfig, _only(rest, "--run", "--config"), command=f"raycv {command}")
        store = RunStore(named.run)
        config = load(model, rest, record.read(store)["config"], command=f"raycv {command}")
        stage(config, store)
    except UserError as error:
        print(f"raycv: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("raycv: stopped; the same command goes on from here", file=sys.stderr, flush=True)
        return 130
    return 0


def _only(arguments: Sequence[str], *flags: str) -> list[str]:
    """The given flags and their values, without the others."""
    kept: list[str] = []
    for here, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if here in flags:
            kept += [here, after]
        elif here.startswith(tuple(f"{flag}=" for flag in flags)):
            kept.append(here)
    return kept


if __name__ == "__main__":
    sys.exit(main())
