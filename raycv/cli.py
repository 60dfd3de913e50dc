"""`raycv STAGE [flags]` runs one stage, `raycv run` all of them in order."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import click
from click.shell_completion import ShellComplete, get_completion_class

import raycv
from raycv import flags
from raycv.config import (
    AblateConfig,
    AlignConfig,
    CleanConfig,
    ClusterSweepConfig,
    CollectConfig,
    CommandConfig,
    EnsembleConfig,
    ExportConfig,
    FiguresConfig,
    MappingSweepConfig,
    MergeConfig,
    PatchesConfig,
    PlanConfig,
    PrepareConfig,
    PruneConfig,
    ReportConfig,
    RunConfig,
    StageConfig,
    StatusConfig,
    StitchConfig,
    StudyConfig,
    TrainConfig,
)
from raycv.errors import WHERE, StageFailed, UserError
from raycv.flags import Group
from raycv.memory import Need
from raycv.networks import trust
from raycv.networks.spec import NetworkSpec
from raycv.progress import NORMAL, QUIET, VERBOSE, answer, detail, doing, is_told, say, speak
from raycv.run import lease, record, schema, tables
from raycv.run.store import RunStore
from raycv.settings import Given, load, models_named
from raycv.stopping import stoppable

OF_RUN = ("exact",)  # solvers of `raycv run`: sgd takes as long as all other stages together
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": flags.WIDTH}


def _train(config: TrainConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.train.stage import train

    train(config, store)


def _collect(config: CollectConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.collect.stage import collect

    collect(config, store)


def _align(config: AlignConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.align.stage import align

    align(config, store)


def _sweep_clusters(config: ClusterSweepConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.clusters.stage import sweep

    sweep(config, store)


def _prepare(config: PrepareConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.prepare.stage import prepare

    prepare(config, store)


def _sweep_mapping(config: MappingSweepConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.mapping.stage import sweep

    if isinstance(config, RunConfig):
        sweep(config, store, solvers=OF_RUN)
    else:
        sweep(config, store)


def _patches(config: PatchesConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.patches.stage import patches

    patches(config, store)


def _figures(config: FiguresConfig, store: RunStore) -> None:
    from raycv.stages.ablate.figures import plan as ablate
    from raycv.stages.align.figures import plan as align
    from raycv.stages.clusters.figures import plan as clusters
    from raycv.stages.ensemble.figures import plan as ensemble
    from raycv.stages.figures.stage import figures
    from raycv.stages.mapping.figures import plan as mapping
    from raycv.stages.merge.figures import plan as merge
    from raycv.stages.patches.figures import plan as patches
    from raycv.stages.prune.figures import plan as prune
    from raycv.stages.stitch.figures import plan as stitch
    from raycv.stages.train.figures import plan as train

    of_run, of_after = (train, align, mapping, clusters, patches), (prune, ablate, ensemble, stitch, merge)
    figures(config, store, [room.plan for room in (*of_run, *of_after)])


def _report(config: ReportConfig, store: RunStore) -> None:
    from raycv.stages.report.stage import report

    report(config, store)


def _prune(config: PruneConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.prune.stage import prune

    prune(config, store)


def _ablate(config: AblateConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.ablate.stage import ablate

    ablate(config, store)


def _stitch(config: StitchConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.stitch.stage import stitch

    stitch(config, store)


def _ensemble(config: EnsembleConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.ensemble.stage import ensemble

    ensemble(config, store)


def _merge(config: MergeConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.merge.stage import merge

    merge(config, store)


@dataclass(frozen=True)
class Command:
    """One command: its settings, what it does, the help text that says so, and flags as one might give them.

    ``stages`` names the stages of which it is the only driver meanwhile; ``section`` is its place in the help.
    """

    settings: type[CommandConfig]
    do: Callable[[Any, RunStore], None]
    meaning: str
    example: str = "--run runs/first"
    checks_health: bool = False
    stages: tuple[str, ...] = ()
    section: str = "Commands"


# PyTorch and Ray are imported when a stage runs, so that --help and a wrong flag answer at once.
STAGES = {
    "train": Command(
        TrainConfig,
        _train,
        "train the networks, or import trained ones",
        "--run runs/wide --seeds 1,2 --width 24 --epochs 20",
    ),
    "collect": Command(
        CollectConfig,
        _collect,
        "pass the validation images through all networks, once",
        "--run runs/first --actors 2",
    ),
    "align": Command(AlignConfig, _align, "correlate and match the units of the networks", checks_health=True),
    "sweep mapping": Command(
        MappingSweepConfig,
        _sweep_mapping,
        "predict units from a few units of another network",
        "--run runs/first --solvers exact,sgd --units-used 4.7",
    ),
    "sweep clusters": Command(
        ClusterSweepConfig,
        _sweep_clusters,
        "cluster the units of two networks, for several k",
        "--run runs/first --k 10,20 --thresholds 0.2,0.3",
    ),
    "patches": Command(PatchesConfig, _patches, "show what each unit responds to most, and why"),
    "figures": Command(FiguresConfig, _figures, "draw the paper's figures"),
    "report": Command(ReportConfig, _report, "write the report, one HTML file"),
}

# Stages for a finished run, of which `raycv run` does none; `raycv figures` and `raycv report` show what they found.
AFTER = {
    "prune": Command(PruneConfig, _prune, "remove units, and see what it costs", "--run runs/first --fractions 0.5"),
    "ablate": Command(AblateConfig, _ablate, "remove matched, unmatched, recurring and lonely units"),
    "ensemble": Command(EnsembleConfig, _ensemble, "let networks vote, and put the units of two of them together"),
    "stitch": Command(StitchConfig, _stitch, "join the first layers of one network with the last of another"),
    "merge": Command(
        MergeConfig, _merge, "make several networks one, with their units matched", "--run runs/first --pairs net1-net2"
    ),
}
AFTER = {name: replace(command, section="After a run") for name, command in AFTER.items()}
EVERY_STAGE = STAGES | AFTER


def _stage(name: str, config: StageConfig, store: RunStore) -> None:
    """Do one stage; what it fails of is noted in the run. A mistake of the user leaves the run as it is."""
    try:
        EVERY_STAGE[name].do(config, store)
    except UserError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, StageFailed) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(UserError):
            record.fail(store, name, said)
        raise


def _run(config: RunConfig, store: RunStore) -> None:
    began = time.time()
    for name in STAGES:
        _stage(name, config, store)
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
    say(f"run: finished in {time.time() - began:.0f} s")
    for name in tables.names(store):
        detail(f"    pandas.read_parquet({store.locate(f'tables/{name}')!r})")
    for path in store.list("figures"):
        detail(f"    {store.locate(path)}")


def _answer(store: RunStore) -> None:
    """The numbers in which a run ends, and where to look further."""
    from raycv.stages.align.health import summary

    health = record.read(store)["stages"]["align"]["health"]
    pairs = [(a, b) for a, b in health["broken_pairs"]]
    answer(summary(tables.read(store, "alignment"), health["layer"], pairs))
    if store.exists("report.html"):
        answer(f"report: {store.locate('report.html')}")
    answer(f"tables: pandas.read_parquet({store.locate('tables/alignment')!r}), and others beside it")
    if store.exists("figures"):
        answer(f"figures: {store.locate('figures')}")


def _status(config: StatusConfig, store: RunStore) -> None:
    from raycv.stages.status.stage import status

    status(config, store, tuple(STAGES), tuple(AFTER))


def _clean(config: CleanConfig, store: RunStore) -> None:
    from raycv.stages.clean.stage import clean

    clean(config, store)


def _export(config: ExportConfig, store: RunStore) -> None:
    from raycv.stages.export.stage import export

    export(config, store, tuple(EVERY_STAGE))


def _plan(config: PlanConfig, store: RunStore) -> None:
    with doing("loading PyTorch and Ray"):
        from raycv.stages.align.stage import is_done as align
        from raycv.stages.clusters.stage import is_done as clusters
        from raycv.stages.collect.stage import is_done as collect
        from raycv.stages.collect.stage import needs as of_pass
        from raycv.stages.figures.stage import is_done as figures
        from raycv.stages.mapping.stage import is_done as mapping
        from raycv.stages.patches.stage import is_done as patches
        from raycv.stages.plan.stage import Stage, Work, plan
        from raycv.stages.report.stage import is_done as report
        from raycv.stages.train.stage import asked_for
        from raycv.stages.train.stage import is_done as train

    only_exact = partial(mapping, solvers=OF_RUN)
    checks: tuple[Callable[[Any, RunStore], bool], ...]
    checks = (train, collect, align, only_exact, clusters, patches, figures, report)
    stages = {name: Stage(STAGES[name].settings, is_done) for name, is_done in zip(STAGES, checks, strict=True)}
    asked = asked_for(config)
    actor, partials = of_pass(config, asked.specs, len(set(config.keep_epochs)), len(asked.validation))
    worker = asked.need(config)
    memory = {"train": [worker] if worker else [], "collect": [actor]} | _memory(config, asked.specs)
    read, trained, validated = asked.image_bytes(), asked.images, len(asked.validation)
    plan(config, store, stages, Work(trained, validated, asked.epochs, asked.weight_bytes, read, partials, memory))


def _memory(config: RunConfig, specs: Sequence[NetworkSpec]) -> dict[str, list[Need]]:
    """What the stages after the pass need."""
    from raycv.networks.sizes import widths_of
    from raycv.stages.align.memory import needs as align
    from raycv.stages.clusters.memory import trial_need as clusters
    from raycv.stages.collect.stage import folds_of
    from raycv.stages.figures.memory import command_need as figures
    from raycv.stages.mapping.memory import trial_need as mapping
    from raycv.stages.patches.memory import actor_need as patches

    widths = widths_of(specs)
    folds = {layer: folds_of(max(of_layer)) for layer, of_layer in widths.items()}
    decays, solvers = len(set(config.decays)), len(config.solvers or OF_RUN)
    seeing = [spec for spec in specs if not spec.is_recorded]
    return {
        "align": align(widths, folds),
        "sweep mapping": [mapping(widths, folds, decays, solvers)],
        "sweep clusters": [clusters(widths, folds)],
        "patches": [patches(seeing)] if seeing else [],
        "figures": [figures(widths)],
    }


def _study(config: StudyConfig, store: RunStore) -> None:
    from raycv.stages.study.stage import study

    study(config, store, [(STAGES[name].settings, partial(_alone, name)) for name in ("train", "collect", "align")])


def _alone(name: str, config: StageConfig, store: RunStore) -> None:
    with lease.held(store, [name]):
        _stage(name, config, store)


COMMANDS = {
    "run": Command(RunConfig, _run, "run all stages in order", checks_health=True, stages=tuple(STAGES)),
    "study": Command(
        StudyConfig,
        _study,
        "compare networks of several widths and numbers of training images",
        "--run runs/study --widths 6,12,24",
        stages=("study",),
    ),
    "prepare": Command(
        PrepareConfig,
        _prepare,
        "decode and resize images once, to be read fast and often",
        "--data imagenet --to s3://bucket/imagenet-256",
        stages=("prepare",),
    ),
    "status": Command(StatusConfig, _status, "say what each stage of a run is doing, has done or has failed of"),
    "plan": Command(PlanConfig, _plan, "say what `raycv run` would do, with the same flags"),
    "clean": Command(
        CleanConfig, _clean, "remove what stages that did not finish have left", stages=tuple(EVERY_STAGE)
    ),
    "export": Command(
        ExportConfig,
        _export,
        "copy tables, figures and report, without weights",
        "--run runs/first --to s3://bucket/first",
    ),
    **{name: replace(stage, do=partial(_stage, name), stages=(name,)) for name, stage in EVERY_STAGE.items()},
}


GROUPS = {"sweep": "try out many settings, on Ray Tune"}
ABOUT = "Which units of independently trained networks learned the same thing?"
MORE = """Every flag is also a key of a YAML file (--config FILE) and an environment variable (RAYCV_SHARD_SIZE=512). A
run remembers its settings. Start with: raycv run --run runs/first"""


def _commands() -> Group:
    """The command line: every command with its flags, what explains them, and completion for shells."""
    root = Group("raycv", help=ABOUT, epilog=MORE, context_settings=CONTEXT)
    click.version_option(raycv.__version__, message="raycv %(version)s")(root)
    for name, command in COMMANDS.items():
        *above, last = name.split()
        group: click.Group = root
        for word in above:
            group.add_command(group.commands.get(word) or Group(word, help=GROUPS.get(word)))
            group = cast(click.Group, group.commands[word])
        group.add_command(
            flags.Command(
                last,
                params=[*flags.flags_of(command.settings), *([flags.wait()] if command.stages else [])],
                section=command.section,
                help=command.meaning,
                epilog=f"Example: raycv {name} {command.example}",
                callback=partial(_prepared, command),
            )
        )
    for explain in (_tables, _layers, _help, _completion):
        root.add_command(explain)
    return root


def _prepared(command: Command, **typed: Any) -> Callable[[], int]:
    """What a command line asks for, to be done when click has read it."""
    level = VERBOSE if typed["verbose"] else QUIET if typed["quiet"] else NORMAL
    if typed["verbose"] and typed["quiet"]:
        raise UserError("--verbose and --quiet contradict each other; give one of them.")
    given, trusted = flags.given(command.settings, typed), flags.trusted(typed)
    return partial(_do, command, given, level, typed.get("wait", False), trusted)


@click.command("tables", help="print what every table and column means")
def _tables() -> None:
    answer(schema.describe())


@click.command(
    "layers",
    help="print the layers of a model that can be compared",
    epilog="Example: raycv layers --model resnet18",
)
@click.option("--model", required=True, metavar="NAME", help="small-alexnet, alexnet or a torchvision model")
def _layers(model: str) -> None:
    with doing("loading PyTorch"):
        from raycv.networks.layers import layers_of_model
    trust.allow([model])
    found = layers_of_model(model)
    width = max(len(name) for name in found)
    answer(f"{'layer':{width}}  units  positions   parameters, at 10 classes")
    for name, layer in found.items():
        answer(f"{name:{width}}  {layer.units:5}  {layer.positions:9,}  {layer.parameters:11,}")


@click.command("help", help="explain a command: raycv help train")
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@click.pass_context
def _help(context: click.Context, words: tuple[str, ...]) -> None:
    above, command = context.find_root(), context.find_root().command
    for place, word in enumerate(words):
        if not isinstance(command, Group):
            raise UserError(f"`{above.command_path}` has no commands below it, found {word!r}.")
        _, found, _ = command.resolve_command(above, list(words[place:]))
        command = cast(click.Command, found)
        above = click.Context(command, above, command.name, **CONTEXT)
    answer(command.get_help(above))


@click.command("completion", help="make a shell complete commands and flags: source <(raycv completion bash)")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def _completion(context: click.Context, shell: str) -> None:
    made = cast(type[ShellComplete], get_completion_class(shell))
    answer(made(context.find_root().command, {}, "raycv", "_RAYCV_COMPLETE").source())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done; 1: a stage failed, and the same command continues it; 2: a mistake that the user can correct; 3: done,
    but the health check failed; 130: stopped.
    """
    with stoppable(lease.give_all_back):
        return _answered(arguments)


def _answered(arguments: Sequence[str] | None) -> int:
    try:
        asked = _commands().main(arguments, prog_name="raycv", standalone_mode=False)
        return int(asked()) if callable(asked) else asked or 0
    except click.exceptions.NoArgsIsHelpError as error:
        answer(error.format_message())
        return 2
    except click.UsageError as error:
        return _refused(flags.sentence(error), 2)
    except UserError as error:
        return _refused(str(error), 2)
    except StageFailed as error:
        return _refused(str(error), 1)
    except click.Abort:  # as click calls it
        raise KeyboardInterrupt from None


def _refused(reason: str, code: int) -> int:
    sentence, line, where = reason.partition(WHERE)
    print("raycv: " + sentence.replace("\n", " "), file=sys.stderr, flush=True)
    if line and is_told(VERBOSE):
        print(line.lstrip("\n") + where, file=sys.stderr, flush=True)
    return code


def _do(command: Command, typed: Mapping[str, Given], level: int, wait: bool, trusted: Sequence[str] = ()) -> int:
    """Run ``command`` with the settings ``typed`` as flags, those given elsewhere and those stored in the run.

    ``trusted``: functions that the user allows; those that the settings name are, too, but not those stored in the run.
    """
    speak(level)
    trust.remember(trusted)
    trust.allow(models_named(typed))
    config: Any
    if issubclass(command.settings, StageConfig):
        # Settings stored in the run replace flags that are not given, so find the run first.
        store = RunStore(load(StageConfig, typed).run)
        record.check_kind(store, study=command.settings is StudyConfig)
        config = load(command.settings, typed, record.read(store)["config"])
    else:
        config = load(command.settings, typed)
        store = RunStore(_place(config))
    joined = _in_a_cluster()
    with lease.held(store, command.stages, wait=wait):
        try:
            command.do(config, store)
        finally:
            if _in_a_cluster() and not joined:
                sys.modules["ray"].shutdown()  # here, where Ctrl-C is waited for, and not when the interpreter ends
    if not command.checks_health:
        return 0
    _answer(store)
    return _health(store)


def _place(config: PrepareConfig) -> str:
    if config.to is None:
        raise UserError("raycv prepare needs --to, a new folder or s3://bucket/prefix for the images.")
    return config.to


def _in_a_cluster() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _health(store: RunStore) -> int:
    """The exit code that follows from the health check of a run."""
    from raycv.stages.align.health import verdict

    found = record.read(store)["stages"]["align"]["health"]
    if not found["broken_pairs"]:
        return 0
    return _refused(verdict(found["layer"], found["broken_pairs"]), 3)


if __name__ == "__main__":
    sys.exit(main())
